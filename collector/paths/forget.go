package paths

import (
	"fmt"
	"maps"
	"strings"
)

// Forgotten replaces a path that has been forgotten.
const Forgotten = "(forgotten)"

// Selection selects the paths to forget.
type Selection struct {
	// Path is a path or a template. It is compared byte for byte, and a "*" matches any characters, including slashes.
	Path string
	// Host and Method are the row's host and method as shown in tables. An empty value selects all.
	Host, Method string
}

// Check returns an error if the selection cannot be used: Path must begin with "/" or "*", and a pattern must contain more than stars and
// slashes.
func (s *Selection) Check() error {
	switch {
	case !strings.HasPrefix(s.Path, "/") && !strings.HasPrefix(s.Path, "*"):
		return fmt.Errorf("path %q must begin with / or *", s.Path)
	case strings.Contains(s.Path, "*") && strings.Trim(s.Path, "*/") == "":
		return fmt.Errorf("path %q would select everything", s.Path)
	case strings.ContainsAny(s.Path, "?#\n"):
		return fmt.Errorf("path %q must not contain ?, # or line feeds: only paths are stored", s.Path)
	}
	return nil
}

// PathMatches reports whether a requested path is selected.
func (s *Selection) PathMatches(path []byte) bool { return glob([]byte(s.Path), path) }

// Rows returns a function that reports whether a row is selected, either by its label or by the template under which rules show it. The
// rows (other) and (malformed) are never selected, because they do not name a path.
func (s *Selection) Rows(rules *Rules) func(host, method, label string) bool {
	pattern := []byte(s.Path)
	return func(host, method, label string) bool {
		if label == Other || label == Malformed || !s.Of(host, method) {
			return false
		}
		if glob(pattern, []byte(label)) {
			return true
		}
		shown := rules.Label(host, label)
		return shown != label && glob(pattern, []byte(shown))
	}
}

// Of reports whether rows of this host and method may be selected.
func (s *Selection) Of(host, method string) bool {
	return (s.Host == "" || s.Host == host) && (s.Method == "" || s.Method == method)
}

// Forget removes the selected rows, and every name that was learned only from them. It is part of the batch that Begin
// has started: [Labeler.Changes] returns the deletions of their persisted entries. Later responses under such a path
// are admitted like any others. Forget returns the number of removed rows.
func (l *Labeler) Forget(s *Selection) (rows int) {
	l.journal.save(l)
	rules := l.Rules()
	selected := s.Rows(rules)
	var gone, kept []hostText
	for _, r := range l.sorted() {
		texts := []hostText{{r.host, r.label}, {r.host, rules.Label(r.host, r.label)}}
		if !selected(r.host, r.method, r.label) {
			kept = append(kept, texts...)
			continue
		}
		gone = append(gone, texts...)
		l.journal.removed(r)
		l.remove(r)
		rows++
	}
	l.forgetLevels(func(host, prefix string) bool {
		if s.Host != "" && s.Host != host {
			return false
		}
		if s.Method == "" && glob([]byte(s.Path), []byte(prefix)) {
			return true
		}
		return below(gone, host, prefix) && !below(kept, host, prefix)
	})
	clear(l.watches) // watches contain values; new watches need some time to find names again
	l.publish()
	l.fold(false)
	l.cache.clear()
	return rows
}

type hostText struct{ host, text string }

// below reports whether one of the texts equals the path or lies below it.
func below(texts []hostText, host, path string) bool {
	for _, t := range texts {
		if t.host == host && strings.HasPrefix(t.text, path) && (len(t.text) == len(path) || t.text[len(path)] == '/') {
			return true
		}
	}
	return false
}

// forgetLevels removes the levels, and the names within levels, whose paths must be forgotten.
func (l *Labeler) forgetLevels(goes func(host, path string) bool) {
	for _, levels := range []map[string]*level{l.levels, l.likely} {
		for key, v := range levels {
			if v.prefix != "" && goes(v.host, v.prefix) {
				l.journal.dropLevel(v)
				delete(levels, key)
				continue
			}
			lost := func(name string, _ bool) bool { return goes(v.host, v.prefix+"/"+name) }
			next := *v
			next.except, next.only = maps.Clone(v.except), maps.Clone(v.only)
			maps.DeleteFunc(next.except, lost)
			maps.DeleteFunc(next.only, lost)
			if next.same(v) {
				continue
			}
			if next.only != nil && len(next.only) == 0 {
				l.journal.dropLevel(v)
				delete(levels, key)
				continue
			}
			l.journal.setLevel(l, &next)
			levels[key] = &next
		}
	}
}
