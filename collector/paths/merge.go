package paths

import (
	"maps"
	"strings"
)

// level is a prefix in the tree of paths. The segment that follows it varies.
type level struct {
	host   string
	prefix string // label of the parent, in its merged form; "" is the root
	// learnt means that new labels permanently have the placeholder at this level. Otherwise, the level is likely: its rows are shown
	// merged until later responses show that the children are names.
	learnt bool
	// except holds the children that are names. If only is not nil, it holds the children that are values, and all others are names.
	// Neither map changes after the level has become part of Rules.
	except, only map[string]bool
	order        uint32
}

// Rules determine the template under which a row is shown. They merge rows whose labels are older than the level that was learned from
// these rows. Rules are immutable and safe for concurrent use. Nil Rules leave all labels unchanged.
type Rules struct {
	levels     map[string]*level // levels by their key
	configured map[string]bool   // configured templates stay as they are
	exact      *exactRows        // like configured, but for gRPC methods (see Labeler.exact)
}

func levelKey(host, prefix string) string { return host + "\x00" + prefix }

// Label returns the template under which a row with this label is currently shown. It returns most labels unchanged, without an
// allocation.
func (r *Rules) Label(host, label string) string {
	if r == nil || len(r.levels) == 0 || len(label) == 0 || label[0] != '/' || r.configured[label] {
		return label
	}
	var space [512]byte
	key := append(append(space[:0], host...), 0)
	start := len(key)
	changed := false
	for rest := label; rest != ""; {
		end := strings.IndexByte(rest[1:], '/') + 1
		if end == 0 {
			end = len(rest)
		}
		segment := rest[1:end]
		if l := r.levels[string(key)]; l != nil && varies(segment) && l.holds(segment) {
			key = append(append(key, '/'), idPlaceholder...)
			changed = true
		} else {
			key = append(key, rest[:end]...)
		}
		rest = rest[end:]
	}
	if !changed || r.isExact(host, label) {
		return label
	}
	return string(key[start:])
}

func (r *Rules) isExact(host, label string) bool {
	if r.exact == nil {
		return false
	}
	_, found := r.exact.Load(mergedKey(host, label))
	return found
}

// holds reports whether a child is one of the values of the level.
func (l *level) holds(name string) bool {
	if l.only != nil {
		return l.only[name]
	}
	return !l.except[name]
}

// same reports whether two levels with the same prefix merge the same children.
func (l *level) same(o *level) bool {
	return maps.Equal(l.except, o.except) && maps.Equal(l.only, o.only) && (l.only == nil) == (o.only == nil)
}

// varies reports whether a placeholder can replace a segment of a label. An empty segment cannot be replaced, and neither can a
// placeholder.
func varies(segment string) bool {
	return segment != "" && strings.IndexByte(segment, '{') < 0
}
