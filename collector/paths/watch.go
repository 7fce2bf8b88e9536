package paths

import (
	"bytes"
	"maps"
	"slices"
)

// A watch finds names among the values of a learned level: children that are common and have names below them that no other
// child has. It finds, for example, a new route at a level of many random values.
//
// It counts in a table of fixed size (space saving: Metwally, Agrawal, El Abbadi, 2005). A new value replaces the rarest one and inherits
// its count, so a count is too high by at most the inherited part.
type watch struct {
	index  map[string]int // value → index in values
	values []watched
	owners []owner // names below the values, indexed by their hash; allocated at first use
	hits   int     // all responses
	named  int     // responses to paths with a name below the value
	known  int     // responses of values that were already in the table
}

// owner is the value below which a name was seen.
type owner struct {
	name, value uint32 // hashes; value is 0 if the name was seen below several values
	credit      uint8  // number of times that other names must hash to this entry before one of them replaces it
}

type watched struct {
	name        string
	count, over int      // count may be too high by up to over
	below       []uint32 // hashes of the names below
}

const (
	watchedMax      = 48 // maximum number of values of a level
	watchedBelowMax = 16 // maximum number of names below a value
	ownersMax       = 1024
	ownerCredit     = 8
	watchesMax      = 256 // maximum number of levels with a watch
	nameCount       = 16  // responses after which a value with its own names below it becomes a name
	flatCount       = 8   // responses after which a value becomes a name, if hardly any other value is seen more than once
	flatKnownShare  = 20  // "hardly any other": less than one response in this many
	flatHitsMin     = 256
	watchAllMax     = 4096 // responses of a level after which only one in watchOneIn is counted
	watchOneIn      = 8
	watchForgetHits = 1 << 20 // responses after which a watch is reset
)

func newWatch() *watch { return &watch{index: map[string]int{}} }

// watch counts a value of a learned level, and reports whether it has just become a name.
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
		return false // enough is already known, so counting each response would only cost time
	}
	c := w.count(value)
	w.noteBelow(c, value, rest)
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
	*c = watched{name: string(value), count: c.count + 1, over: c.count, below: c.below[:0]}
	w.index[c.name] = at
	return c
}

// noteBelow records the names below a value.
func (w *watch) noteBelow(c *watched, value, rest []byte) {
	named := false
	for depth := uint32(1); depth <= belowDepth && len(rest) > 0; depth++ {
		segment, after, _ := bytes.Cut(rest, []byte{'/'})
		if len(segment) > 0 && !isID(segment) {
			w.setOwner(c, hashName(0, value)|1, hashName(depth, segment))
			named = true
		}
		rest = after
	}
	if named {
		w.named++
	}
}

func (w *watch) setOwner(c *watched, value, name uint32) {
	if w.owners == nil {
		w.owners = make([]owner, ownersMax)
	}
	switch o := &w.owners[name%ownersMax]; {
	case o.name != name && o.credit > 0:
		o.credit--
	case o.name != name:
		*o = owner{name: name, value: value, credit: 1}
	case o.value == value:
		o.credit = min(o.credit+1, ownerCredit)
	default:
		o.value, o.credit = 0, ownerCredit
	}
	if len(c.below) < watchedBelowMax && !slices.Contains(c.below, name) {
		c.below = append(c.below, name)
	}
}

// isName reports whether a common value is in fact a name.
func (w *watch) isName(c *watched) bool {
	others := w.known - (c.count - c.over)
	flat := w.hits >= flatHitsMin && others*flatKnownShare < w.hits
	if len(c.below) == 0 {
		return flat || c.count-c.over >= pageCountOf(w.named, w.hits)
	}
	if c.count-c.over < nameCount && !flat {
		return false
	}
	own := 0
	for _, s := range c.below {
		switch o := w.owners[s%ownersMax]; {
		case o.name != s: // another name occupies this entry
		case o.value == 0:
			return false
		default:
			own++
		}
	}
	return 2*own >= len(c.below)
}

// keepName makes a value of a learned level a name for all later responses. Responses that have already been counted stay in their row.
func (l *Labeler) keepName(v *level, name string) {
	next := *v
	next.except = map[string]bool{name: true}
	maps.Copy(next.except, v.except)
	l.setLevel(&next)
	l.watches[&next] = l.watches[v]
	delete(l.watches, v)
	l.publish()
	l.cache.clear()
}
