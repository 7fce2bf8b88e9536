package paths

import (
	"slices"
	"strings"
)

// Bounds of learning.
const (
	// countMax is the highest count of a row: a name with that many responses is certainly common.
	countMax = 64
	// evaluateFirst and evaluateMax bound the number of events between the admission of a row and the next evaluation.
	evaluateFirst = 256
	evaluateMax   = 16_384
	// belowDepth is the number of segments below a child that are compared with those of other children.
	belowDepth = 3

	levelsMax      = 1000 // maximum number of learned levels
	exceptionsMax  = 64   // maximum number of names among the values of one level
	exceptionCount = 8    // responses that a child needs to become such a name
)

// sample is a row in the form that the tree uses.
type sample struct {
	rest  string // label below the prefix, with its slash
	count int
}

// child is a segment below a prefix, and the rows below it.
type child struct {
	name    string
	samples []sample
	count   int
	below   map[uint32]int // hash of a name below and its depth → number of responses
	named   int            // responses to paths with a name below this child
}

// tree evaluates the rows of a host: level by level from the root, it decides which segments vary.
type tree struct {
	l      *Labeler
	host   string
	likely map[string]*level
	fresh  []*level // newly learned
	full   bool     // few templates are left: merge more
	short  bool     // few labels are left: learn sooner
}

// visit decides whether the children of a prefix are names or values, and then visits each child.
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
			t.likely[levelKey(t.host, prefix)] = known
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

// decide returns the level that the children form, or nil if they are names rather than values.
func (t *tree) decide(prefix string, children []*child, merged []sample) *level {
	verdict := t.judge(children)
	if t.l.relearning && verdict != verdictLearnt && len(merged) > 0 && t.judge(rare(children)) == verdictLearnt {
		verdict = verdictLearnt
	}
	switch verdict {
	case verdictLearnt:
		return &level{host: t.host, prefix: prefix, learnt: true, except: t.names(children)}
	case verdictLikely:
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

// localesMin is the minimum number of locale codes at one level for which these codes are considered values.
const localesMin = 6

// locales returns the children that are language or country codes, if many of them have the same names below them. Such codes are values,
// however common they are.
func locales(children []*child) map[string]bool {
	seen, codes := map[uint32]int{}, []*child{}
	for _, c := range children {
		if !isLocale(c.name) {
			continue
		}
		if c.below == nil {
			c.collectBelow()
		}
		codes = append(codes, c)
		for s := range c.below {
			seen[s]++
		}
	}
	if len(codes) < localesMin {
		return nil
	}
	only := map[string]bool{}
	for _, c := range codes {
		for s := range c.below {
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

// values returns the children that resemble the identifiers among their siblings: they have at least two names below
// them, and all of these names also occur below the identifiers. For example, "main" in "/branches/main/protection" is
// a value if there is also "/branches/{id}/protection".
func values(children []*child, merged []sample) map[string]bool {
	if len(merged) == 0 || len(children) == 0 {
		return nil
	}
	beside := child{samples: merged}
	beside.collectBelow()
	var only map[string]bool
	for _, c := range children {
		if c.below == nil {
			c.collectBelow()
		}
		if len(c.below) < 2 {
			continue
		}
		alike := true
		for s := range c.below {
			alike = alike && beside.below[s] > 0
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

// split groups samples by their first segment. Samples whose segment is "{id}" have already been merged. Samples with a different
// placeholder in the segment are omitted.
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

// verdict is the decision whether the children of a level are names or values.
type verdict int

const (
	verdictNames  verdict = iota
	verdictLikely         // they look like values: shown merged until they look like names
	verdictLearnt         // they are values: merged permanently
)

// judge recognizes values by three properties: there are many children, and many of them were seen only once; they are alike (the same
// names appear below several of them); and their number grows with the traffic.
func (t *tree) judge(children []*child) verdict {
	n := len(children)
	if n < childrenMin {
		return verdictNames
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
		return verdictLearnt
	case n >= 2*many && open >= 0.3 && total <= 4*n:
		return verdictLearnt
	case inner*5 >= n && share >= 0.6 && open >= 0.3 && total <= 4*n,
		inner*5 < n && open >= 0.4 && total <= 3*n,
		n >= unlikeMin && open >= 0.55 && 2*total <= 5*n:
		if t.short && n >= shortMin {
			return verdictLearnt
		}
		return verdictLikely
	case t.full && (same || inner*5 < n && n >= leavesMin && total <= 8*n):
		return verdictLikely // otherwise, there would be no room for some of the children
	}
	return verdictNames
}

const (
	childrenMin = 6  // minimum number of children that can be values …
	leavesMin   = 8  // … if they have no names below them and few templates are left
	shortMin    = 16 // … and can be merged permanently, if few labels are left
	unlikeMin   = 20 // … if they have no names below them in common
	sameCount   = 8  // responses that a child needs before it is compared with all others
)

// likeness counts the children that have names below them (inner), and those among them that share such a name with several other
// children (alike). same reports whether all children with many responses have mostly the same names below them.
func likeness(children []*child) (inner, alike int, same bool) {
	seen := map[uint32]int{}
	for _, c := range children {
		c.collectBelow()
		for s := range c.below {
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
		if len(c.below) > 0 {
			inner++
		}
		shared, often, odd := false, 0, 0
		for s, count := range c.below {
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

// collectBelow collects the names below a child.
func (c *child) collectBelow() {
	c.below, c.named = map[uint32]int{}, 0
	for _, s := range c.samples {
		rest, named := s.rest, false
		for depth := uint32(1); depth <= belowDepth && rest != ""; depth++ {
			end := strings.IndexByte(rest[1:], '/') + 1
			if end == 0 {
				end = len(rest)
			}
			if varies(rest[1:end]) {
				c.below[hashName(depth, rest[1:end])] += s.count
				named = true
			}
			rest = rest[end:]
		}
		if named {
			c.named += s.count
		}
	}
}

// hashName returns the FNV-1a hash of a name and its depth.
func hashName[T string | []byte](depth uint32, name T) uint32 {
	h := 2166136261 ^ depth
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return h
}
