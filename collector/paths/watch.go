package paths

import (
	"bytes"
	"slices"
)

// A watch looks for names among the values of a learnt level: a value that keeps coming, and below which stand names that
// stand below no other. A route that is new below a level of many random values is found so.
//
// It counts with a table of fixed size, in which a new value takes over the place of the rarest with its count, so that
// what is counted is at most too high by the count taken over (Metwally, Agrawal, El Abbadi: space saving, 2005).
type watch struct {
	index  map[string]int // value → its place in values
	values []watched
	owners []owner // names below the values, at a place that their hash chooses; allocated at first use
	hits   int     // responses
	named  int     // of them, those to something with a name below a value
	known  int     // of them, those of a value that was in the table
}

// owner says with which value a name was seen below it.
type owner struct {
	sign, value uint32 // hashes; value is 0 once there were several
	credit      uint8  // how many other names may claim the place before it is given up
}

type watched struct {
	name        string
	count, over int // over is how much too high count may be
	signs       []uint32
}

const (
	watchedMax      = 48 // values of a level
	watchedSigns    = 16 // names below a value
	ownersMax       = 1024
	ownerCredit     = 8
	watchesMax      = 256 // levels
	nameCount       = 16  // responses that make a value with names of its own a name
	flatCount       = 8   // responses that make a value a name where nearly no other ever comes again
	flatKnownShare  = 20  // one in so many
	flatHitsMin     = 256
	watchAllMax     = 4096 // responses of a level after which only one in watchOneIn is looked at
	watchOneIn      = 8
	watchForgetHits = 1 << 20
)

func newWatch() *watch { return &watch{index: map[string]int{}} }

// watch counts a value of a learnt level and reports whether it turned out to be a name.
func (l *Labeler) watch(v *level, value, rest []byte) bool {
	if len(v.except) >= exceptionsMax {
		return false
	}
	w := l.watches[v]
	if w == nil {
		if len(l.watches) >= watchesMax {
			return false
		}
		w = newWatch()
		l.watches[v] = w
	}
	if w.hits > watchAllMax && w.known*flatKnownShare >= w.hits && l.tally.events%watchOneIn != 0 {
		return false // well known by now, and not a level where a name would stand out at once
	}
	c := w.count(value)
	w.below(c, value, rest)
	if c.count-c.over < flatCount || !w.isName(c) {
		return false
	}
	l.keepName(v, string(value))
	return true
}

func (w *watch) count(value []byte) *watched {
	if w.hits++; w.hits > watchForgetHits {
		*w = *newWatch()
	}
	if i, known := w.index[string(value)]; known {
		w.values[i].count++
		w.known++
		return &w.values[i]
	}
	at := len(w.values)
	if at < watchedMax {
		w.values = append(w.values, watched{})
	} else {
		at = 0
		for i := range w.values {
			if w.values[i].count < w.values[at].count {
				at = i
			}
		}
		delete(w.index, w.values[at].name)
	}
	c := &w.values[at]
	*c = watched{name: string(value), count: c.count + 1, over: c.count, signs: c.signs[:0]}
	w.index[c.name] = at
	return c
}

// below notes the names that stand below a value.
func (w *watch) below(c *watched, value, rest []byte) {
	named := false
	for depth := uint32(1); depth <= signDepth && len(rest) > 0; depth++ {
		segment, after, _ := bytes.Cut(rest, []byte{'/'})
		if len(segment) > 0 && !isID(segment) {
			w.own(c, signOf(0, value)|1, signOf(depth, segment))
			named = true
		}
		rest = after
	}
	if named {
		w.named++
	}
}

func (w *watch) own(c *watched, value, sign uint32) {
	if w.owners == nil {
		w.owners = make([]owner, ownersMax)
	}
	switch o := &w.owners[sign%ownersMax]; {
	case o.sign != sign && o.credit > 0:
		o.credit--
	case o.sign != sign:
		*o = owner{sign: sign, value: value, credit: 1}
	case o.value == value:
		o.credit = min(o.credit+1, ownerCredit)
	default:
		o.value, o.credit = 0, ownerCredit
	}
	if len(c.signs) < watchedSigns && !slices.Contains(c.signs, sign) {
		c.signs = append(c.signs, sign)
	}
}

// isName decides about a value that came often.
func (w *watch) isName(c *watched) bool {
	others := w.known - (c.count - c.over)
	flat := w.hits >= flatHitsMin && others*flatKnownShare < w.hits
	if len(c.signs) == 0 {
		return flat || c.count-c.over >= pageCountOf(w.named, w.hits)
	}
	if c.count-c.over < nameCount && !flat {
		return false
	}
	own := 0
	for _, s := range c.signs {
		switch o := w.owners[s%ownersMax]; {
		case o.sign != s: // another name has the place: nothing is known
		case o.value == 0:
			return false
		default:
			own++
		}
	}
	return 2*own >= len(c.signs)
}

// keepName makes a value of a learnt level a name from now on. What was counted before stays where it is.
func (l *Labeler) keepName(v *level, name string) {
	old := v.except
	except := make(map[string]bool, len(old)+1)
	for n := range old {
		except[n] = true
	}
	except[name] = true
	next := *v
	next.except = except
	l.setLevel(&next)
	l.watches[&next] = l.watches[v]
	delete(l.watches, v)
	l.publish()
	l.cache.clear()
}
