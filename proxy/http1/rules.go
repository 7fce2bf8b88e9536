package http1

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"
)

// FieldRules are changes of header fields. Case is ignored in names. Fields that delimit messages (Connection, Content-Length,
// Transfer-Encoding and similar ones) cannot be named, and Host can only be set.
type FieldRules struct {
	Set    []string // "Name: value"; replaces the fields of this name that the message has
	Add    []string // "Name: value"; keeps the fields of this name that the message has
	Remove []string // names of fields that are left out
}

// ErrFieldRule is wrapped by the errors of Compile.
var ErrFieldRule = errors.New("field rule")

// Rules are compiled FieldRules. A nil *Rules changes nothing.
type Rules struct {
	first *Rules   // applied before; nil: none
	drop  [][]byte // names of fields to leave out
	lines []byte   // fields to write
}

// Then returns rules that apply r, and after it next. It changes neither.
func (r *Rules) Then(next *Rules) *Rules {
	if r == nil || next == nil {
		return cmp.Or(r, next)
	}
	both := *next
	both.first = r.Then(next.first)
	return &both
}

// Compile checks the rules. It returns nil if there are none.
func (r FieldRules) Compile() (*Rules, error) {
	if len(r.Set)+len(r.Add)+len(r.Remove) == 0 {
		return nil, nil
	}
	c := &Rules{}
	for _, name := range r.Remove {
		if !mayChange(name) || strings.EqualFold(name, "host") {
			return nil, fmt.Errorf("%w: %q cannot be removed", ErrFieldRule, name)
		}
		c.drop = append(c.drop, []byte(name))
	}
	for i, line := range append(append([]string{}, r.Set...), r.Add...) {
		name, value, found := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		set := i < len(r.Set)
		if !found || !mayChange(name) || !validValue([]byte(value)) || !set && strings.EqualFold(name, "host") {
			return nil, fmt.Errorf("%w: %q", ErrFieldRule, line)
		}
		if set {
			c.drop = append(c.drop, []byte(name))
		}
		c.lines = AppendField(append(c.lines, name...), ": ", []byte(value))
	}
	return c, nil
}

// mayChange accepts tokens that do not delimit messages.
func mayChange(name string) bool {
	if name == "" || tokenLength([]byte(name)) != len(name) {
		return false
	}
	switch classify([]byte(name)) {
	case fieldHopByHop, fieldConnection, fieldTransferEncoding, fieldContentLength, fieldTE, fieldUpgrade, fieldTrailer, fieldExpect:
		return false
	}
	return true
}

// Apply changes the header in block, from the start line to the last field, without the empty line.
func (r *Rules) Apply(block []byte) []byte {
	if r == nil {
		return block
	}
	block = r.first.Apply(block)
	kept := bytes.IndexByte(block, '\n') + 1
	for rest := block[kept:]; len(rest) > 0; {
		line := rest[:bytes.IndexByte(rest, '\n')+1]
		rest = rest[len(line):]
		if name, _, _ := bytes.Cut(line, []byte{':'}); !r.drops(name) {
			kept += copy(block[kept:], line)
		}
	}
	return append(block[:kept], r.lines...)
}

func (r *Rules) drops(name []byte) bool {
	for _, d := range r.drop {
		if bytes.EqualFold(d, name) {
			return true
		}
	}
	return false
}

// ReplaceHost puts another host into the Host field of a request that Finish has completed. A body may follow the header.
func ReplaceHost(block []byte, host string) []byte {
	for at := bytes.IndexByte(block, '\n') + 1; at < len(block) && block[at] != '\r'; {
		n := bytes.IndexByte(block[at:], '\n') + 1
		if n == 0 {
			break
		}
		if name, value, _ := bytes.Cut(block[at:at+n], []byte{':'}); foldEqual(name, "host") {
			end := at + n - len("\r\n")
			value = trimOWS(value[:len(value)-len("\r\n")])
			return slices.Replace(block, end-len(value), end, unsafe.Slice(unsafe.StringData(host), len(host))...)
		}
		at += n
	}
	return block
}
