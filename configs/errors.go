package configs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Source is the kind of place where a value was set.
type Source string

// The sources, lowest precedence first.
const (
	SourceDefault     Source = "default"
	SourceFile        Source = "file"
	SourceEnvironment Source = "environment"
	SourceFlag        Source = "flag"
)

// rank orders sources by precedence.
func (s Source) rank() int {
	return slices.Index([]Source{SourceDefault, SourceFile, SourceEnvironment, SourceFlag}, s)
}

// Error is one error in the configuration. Load and Validate return one of these, or several joined with errors.Join.
type Error struct {
	File   string // configuration file, if Source is SourceFile
	Line   int    // from 1; 0 = unknown
	Column int    // from 1; 0 = unknown
	Key    string // path of the key, in the form used in the file; empty if the error is not about a single key
	Name   string // environment variable or flag, if Source is one of these
	Msg    string // what is wrong and what to do
	Source Source
}

// Error returns `file:line:column: key: message`, or the same with the variable or the flag instead of the position.
func (e *Error) Error() string {
	s := e.position()
	if e.Key != "" && (e.Source != SourceFlag || e.Name != "--"+e.Key) { // a flag can have the same name as its key
		s += e.Key + ": "
	}
	return s + e.Msg
}

func (e *Error) position() string {
	switch {
	case e.File != "" && e.Line > 0:
		return fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Column)
	case e.File != "":
		return e.File + ": "
	case e.Name != "":
		return fmt.Sprintf("%s %s: ", e.Source, e.Name)
	}
	return ""
}

// origin is where a key's value was set.
type origin struct {
	source       Source
	name         string // environment variable or flag; for SourceDefault, a variable with defaultPrefix, or the file of the last run
	file         string
	line, column int
}

// origins maps every key that is not at its default to its origin. Only Load writes it.
type origins map[string]origin

// error returns an Error about a key's value, with its position. If a key of an element is not set, the position is that of the element.
func (o origins) error(key, msg string) *Error {
	for path, more := key, true; more; path, more = parentPath(path) {
		if at, ok := o[path]; ok {
			return at.error(key, msg)
		}
	}
	return origin{source: SourceDefault}.error(key, msg)
}

// parentPath returns the path of the element or section that a key is in: routes[0] for routes[0].path, routes for routes[0].
func parentPath(path string) (parent string, ok bool) {
	i := strings.LastIndexAny(path, ".[")
	return path[:max(i, 0)], i > 0
}

func (o origin) error(key, msg string) *Error {
	return &Error{File: o.file, Line: o.line, Column: o.column, Key: key, Name: o.name, Msg: msg, Source: o.source}
}

// join sorts errors by position, with those in the file first, and joins them. It returns nil if there are none.
func join(list []*Error) error {
	sortByPlace(list)
	if len(list) == 1 {
		return list[0]
	}
	joined := make([]error, 0, len(list))
	for _, e := range list {
		joined = append(joined, e)
	}
	return errors.Join(joined...)
}

func sortByPlace(list []*Error) {
	slices.SortStableFunc(list, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Source.rank(), b.Source.rank()), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// Refuse returns an error, with the position of the value, for a key whose value was rejected by another package. The error is never nil.
func (c *Config) Refuse(key string, err error) error { return c.origins.error(key, err.Error()) }
