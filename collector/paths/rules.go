package paths

import (
	"maps"
	"sort"
	"strings"
)

// level is a place in the tree of paths where segments vary: the children of one prefix.
type level struct {
	host   string
	prefix string // label of the parent, in its merged form; "" is the root
	// learnt: labels are given with the placeholder from here on, for good. Otherwise the level only looks as if it
	// varied: rows are shown merged, and come apart again if that turns out wrong.
	learnt bool
	// except are children that are names of their own. only, where it is not nil, are the children that are values, while
	// all others are names. Neither changes once the level is part of Rules.
	except, only map[string]bool
	order        uint32
}

// Rules say under which template a row is shown: what was learnt since a label was given merges older rows at query time.
// A Rules never changes; it is safe for concurrent use. The nil Rules changes no label.
type Rules struct {
	levels     map[string]*level // by levelKey
	configured map[string]bool   // configured templates stay as they are
}

func levelKey(host, prefix string) string { return host + "\x00" + prefix }

// Label returns the template under which a row with this label is shown today. Most labels come back as they are, without
// an allocation.
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
	if !changed {
		return label
	}
	return string(key[start:])
}

// holds reports whether a child is one of the values of the level.
func (l *level) holds(name string) bool {
	if l.only != nil {
		return l.only[name]
	}
	return !l.except[name]
}

// same reports whether two levels at the same place merge the same children.
func (l *level) same(o *level) bool {
	return maps.Equal(l.except, o.except) && maps.Equal(l.only, o.only) && (l.only == nil) == (o.only == nil)
}

// varies reports whether a segment of a label can be replaced by a placeholder: it has text and is not one already.
func varies(segment string) bool {
	return segment != "" && strings.IndexByte(segment, '{') < 0
}

// Learnt lists the levels that vary, as templates that end in the placeholder, with the host before each; for people.
func (r *Rules) Learnt() []string {
	if r == nil {
		return nil
	}
	var out []string
	for _, l := range r.levels {
		out = append(out, l.host+" "+l.prefix+"/"+idPlaceholder)
	}
	sort.Strings(out)
	return out
}
