package paths

import (
	"slices"
	"strings"
)

// Bounds of learning.
const (
	// countMax is where the count of a row that learning looks at ends: whether a name is seldom or common is known by then.
	countMax = 64
	// evaluateFirst and evaluateMax bound the number of events from the admission of a row to the next look at the tree.
	evaluateFirst = 256
	evaluateMax   = 16_384
	// signDepth is how many segments below a child tell what it is like.
	signDepth = 3

	levelsMax      = 1000 // learnt levels
	exceptionsMax  = 64   // names that a level keeps
	exceptionCount = 8    // responses before a child can be such a name
)

// sample is a row as the tree sees it.
type sample struct {
	rest  string // label below the prefix, with its slash
	count int
}

// child is a segment below a prefix, and what lies below it.
type child struct {
	name    string
	samples []sample
	count   int
	signs   map[uint32]int // hashes of the names below, with their depth → responses
	named   int            // responses to something with a name below
}

// tree is one look at the rows of a host: it decides, level by level from the root, which segments vary.
type tree struct {
	l     *Labeler
	host  string
	soft  map[string]*level
	fresh []*level // newly learnt
	full  bool     // templates are short: merge families too
	short bool     // labels are short: learn sooner
}

// visit decides about the children of a prefix and goes on below them.
func (t *tree) visit(prefix string, samples []sample, depth int) {
	if depth > 32 {
		return
	}
	children, merged := t.split(samples)
	known := t.l.levels[levelKey(t.host, prefix)]
	if known == nil {
		if known = t.decide(prefix, children, merged); known != nil && known.learnt {
			t.fresh = append(t.fresh, known)
		} else if known != nil {
			t.soft[levelKey(t.host, prefix)] = known
		}
	}
	for _, c := range children {
		if known != nil && known.holds(c.name) {
			merged = append(merged, c.samples...)
			continue
		}
		t.visit(prefix+"/"+c.name, c.samples, depth+1)
	}
	if len(merged) > 0 {
		t.visit(prefix+"/"+idPlaceholder, merged, depth+1)
	}
}

// decide returns the level that children make up, or nil if they are names.
func (t *tree) decide(prefix string, children []*child, merged []sample) *level {
	verdict := t.judge(children)
	if t.l.again && verdict != learnt && len(merged) > 0 && t.judge(seldom(children)) == learnt {
		verdict = learnt
	}
	switch verdict {
	case learnt:
		return &level{host: t.host, prefix: prefix, learnt: true, except: t.names(children)}
	case likely:
		return &level{host: t.host, prefix: prefix, except: t.names(children)}
	}
	only := values(children, merged)
	for name := range locales(children) {
		if only == nil {
			only = map[string]bool{}
		}
		only[name] = true
	}
	if only != nil {
		return &level{host: t.host, prefix: prefix, only: only}
	}
	return nil
}

// localesMin is the number of codes from which they are taken for values.
const localesMin = 6

// locales picks the children that are codes of languages or countries, where there are many of them with the same names below
// them: however often each is asked for, a code stays a value.
func locales(children []*child) map[string]bool {
	seen, codes := map[uint32]int{}, []*child{}
	for _, c := range children {
		if !isLocale(c.name) {
			continue
		}
		if c.signs == nil {
			c.sign()
		}
		codes = append(codes, c)
		for s := range c.signs {
			seen[s]++
		}
	}
	if len(codes) < localesMin {
		return nil
	}
	only := map[string]bool{}
	for _, c := range codes {
		for s := range c.signs {
			if seen[s]*3 >= len(codes) {
				only[c.name] = true
				break
			}
		}
	}
	if len(only) < localesMin || 2*len(only) < len(codes) {
		return nil
	}
	return only
}

// values picks the children that look like the identifiers beside them: below them stand names that stand below those
// too, at least two, and no others. "/branches/main/protection" is seen so beside "/branches/{id}/protection".
func values(children []*child, merged []sample) map[string]bool {
	if len(merged) == 0 || len(children) == 0 {
		return nil
	}
	beside := child{samples: merged}
	beside.sign()
	var only map[string]bool
	for _, c := range children {
		if c.signs == nil {
			c.sign()
		}
		if len(c.signs) < 2 {
			continue
		}
		alike := true
		for s := range c.signs {
			alike = alike && beside.signs[s] > 0
		}
		if alike {
			if only == nil {
				only = map[string]bool{}
			}
			only[c.name] = true
		}
	}
	return only
}

// split sorts samples by their first segment. What has a placeholder there, or none that is nothing but one, is merged
// already: only "{id}" itself, other placeholders stay apart.
func (t *tree) split(samples []sample) (children []*child, merged []sample) {
	byName := map[string]*child{}
	for _, s := range samples {
		if s.rest == "" {
			continue
		}
		end := strings.IndexByte(s.rest[1:], '/') + 1
		if end == 0 {
			end = len(s.rest)
		}
		name, below := s.rest[1:end], sample{rest: s.rest[end:], count: s.count}
		if name == idPlaceholder {
			merged = append(merged, below)
			continue
		}
		if !varies(name) {
			continue
		}
		c := byName[name]
		if c == nil {
			c = &child{name: name}
			byName[name] = c
			children = append(children, c)
		}
		c.samples = append(c.samples, below)
		c.count += s.count
	}
	slices.SortFunc(children, func(a, b *child) int { return strings.Compare(a.name, b.name) })
	return children, merged
}

// verdict is what a level looks like.
type verdict int

const (
	fixed  verdict = iota // its children are names
	likely                // they look like values: shown merged
	learnt                // they are values: merged for good
)

// judge decides by three signs that children are values rather than names: there are many of them and a good part was
// seen just once; they look alike, because the same names appear below different ones; and their number keeps growing
// with the traffic.
func (t *tree) judge(children []*child) verdict {
	n := len(children)
	if n < childrenMin {
		return fixed
	}
	total, once := 0, 0
	for _, c := range children {
		total += c.count
		if c.count <= 1 {
			once++
		}
	}
	open := float64(once) / float64(n)
	inner, alike, same := likeness(children)
	share := 0.0
	if inner > 0 {
		share = float64(alike) / float64(inner)
	}
	many := t.l.manyChildren
	switch {
	case n >= many && inner*5 >= n && share >= 0.6 && open >= 0.2:
		return learnt
	case n >= 2*many && open >= 0.3 && total <= 4*n:
		return learnt
	case inner*5 >= n && share >= 0.6 && open >= 0.3 && total <= 4*n,
		inner*5 < n && open >= 0.4 && total <= 3*n,
		n >= unlikeMin && open >= 0.55 && 2*total <= 5*n:
		if t.short && n >= shortMin {
			return learnt
		}
		return likely
	case t.full && (same || inner*5 < n && n >= leavesMin && total <= 8*n):
		return likely // rather than that some of them find no room
	}
	return fixed
}

const (
	childrenMin = 6  // least number of children that can look like values,
	leavesMin   = 8  // without names below them, where templates are short
	shortMin    = 16 // that are learnt to be values where labels are short
	unlikeMin   = 20 // and where nothing below them is alike
	sameCount   = 8  // responses that a child needs to be compared with all others
)

// likeness counts the children that have names below them, and those of them of whose names at least one appears below
// several others. same reports that below all children that are known well stand the same names, and besides them only
// such as are seldom each: values.
func likeness(children []*child) (inner, alike int, same bool) {
	seen := map[uint32]int{}
	for _, c := range children {
		c.sign()
		for s := range c.signs {
			seen[s]++
		}
	}
	common := max(3, len(children)/32)
	frequent := 0
	for _, n := range seen {
		if n*2 >= len(children) {
			frequent++
		}
	}
	known := 0
	same = frequent > 0
	for _, c := range children {
		if len(c.signs) > 0 {
			inner++
		}
		shared, often, odd := false, 0, 0
		for s, count := range c.signs {
			shared = shared || seen[s] >= common
			switch {
			case seen[s]*2 >= len(children):
				often++
			case count*10 >= c.count:
				odd++
			}
		}
		if shared {
			alike++
		}
		if c.count >= sameCount {
			known++
			same = same && often*10 >= 6*frequent && odd <= 1
		}
	}
	return inner, alike, same && known >= childrenMin && known*10 >= 6*len(children)
}

// sign collects the names below a child.
func (c *child) sign() {
	c.signs, c.named = map[uint32]int{}, 0
	for _, s := range c.samples {
		rest, named := s.rest, false
		for depth := uint32(1); depth <= signDepth && rest != ""; depth++ {
			end := strings.IndexByte(rest[1:], '/') + 1
			if end == 0 {
				end = len(rest)
			}
			if varies(rest[1:end]) {
				c.signs[signOf(depth, rest[1:end])] += s.count
				named = true
			}
			rest = rest[end:]
		}
		if named {
			c.named += s.count
		}
	}
}

// signOf is FNV-1a of a name and its depth.
func signOf[T string | []byte](depth uint32, name T) uint32 {
	h := 2166136261 ^ depth
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return h
}
