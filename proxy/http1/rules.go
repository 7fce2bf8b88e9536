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

// FieldRules describe changes to header fields. Names are case-insensitive. Fields that delimit messages (Connection, Content-Length,
// Transfer-Encoding and similar ones) cannot be changed, and Host can only be set.
//
// A value in Set may contain [ClientName] once. It is replaced with the name in the client's verified certificate. If there is no such
// name, the field is left out. Fields with this name that the client itself sends are removed, even with another separator instead of "-"
// and in trailers, because the service relies on the field.
type FieldRules struct {
	Set    []string // "Name: value"; replaces existing fields with this name
	Add    []string // "Name: value"; keeps existing fields with this name
	Remove []string // names of fields to leave out
}

// ClientName is a placeholder in a rule for requests. It is replaced with the name in the client's certificate.
const ClientName = "${tls_client_name}"

// ErrFieldRule is wrapped by the errors of Compile.
var ErrFieldRule = errors.New("field rule")

// Rules are compiled FieldRules. A nil *Rules changes nothing.
type Rules struct {
	first *Rules   // rules to apply before these; may be nil
	drop  [][]byte // names of fields to leave out
	lines []byte   // fields to write
	named []named  // fields to write whose value contains the client's name
}

// named is a field whose value contains the client's name.
type named struct{ name, before, after []byte }

// Then returns rules that apply r and then next. It changes neither.
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
		if before, after, ok := strings.Cut(value, ClientName); ok {
			if !set || strings.Contains(after, ClientName) || strings.EqualFold(name, "host") {
				return nil, fmt.Errorf("%w: %q: %s is allowed only once, and only in a field that is set", ErrFieldRule, line, ClientName)
			}
			c.named = append(c.named, named{[]byte(name), []byte(before), []byte(after)})
			continue
		}
		if set {
			c.drop = append(c.drop, []byte(name))
		}
		c.lines = AppendField(append(c.lines, name...), ": ", []byte(value))
	}
	return c, nil
}

// mayChange reports whether a name is a token, and is not the name of a field that delimits messages.
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

// Apply applies the rules to the header in block, which extends from the start line to the last field, without the empty line.
func (r *Rules) Apply(block []byte) []byte { return r.ApplyNamed(block, nil) }

// ApplyNamed applies the rules to the header of a request. clientName is the name in the client's certificate; it is empty if there is none.
func (r *Rules) ApplyNamed(block, clientName []byte) []byte {
	if r == nil {
		return block
	}
	block = r.first.ApplyNamed(block, clientName)
	block = append(r.filter(block, bytes.IndexByte(block, '\n')+1), r.lines...)
	if len(clientName) == 0 {
		return block
	}
	for _, n := range r.named {
		block = append(append(append(block, n.name...), ": "...), n.before...)
		block = append(append(append(block, clientName...), n.after...), '\r', '\n')
	}
	return block
}

// FilterTrailers removes trailers that imitate a field that contains the client's name.
func (r *Rules) FilterTrailers(lines []byte) []byte {
	if r == nil {
		return lines
	}
	if lines = r.first.FilterTrailers(lines); len(r.named) == 0 {
		return lines
	}
	return r.filter(lines, 0)
}

// filter removes the fields named in drop from the part of block that begins at kept.
func (r *Rules) filter(block []byte, kept int) []byte {
	for rest := block[kept:]; len(rest) > 0; {
		line := rest[:bytes.IndexByte(rest, '\n')+1]
		rest = rest[len(line):]
		if name, _, _ := bytes.Cut(line, []byte{':'}); !r.drops(name) {
			kept += copy(block[kept:], line)
		}
	}
	return block[:kept]
}

func (r *Rules) drops(name []byte) bool {
	for _, d := range r.drop {
		if bytes.EqualFold(d, name) {
			return true
		}
	}
	for i := range r.named {
		if alike(r.named[i].name, name) {
			return true
		}
	}
	return false
}

// ReplaceHost replaces the host in the Host field of a request that Finish has completed. A body may follow the header.
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

// alike reports whether two names are equal, ignoring case and separators, because CGI and similar interfaces turn every separator into
// "_".
func alike(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := isAlphanumeric[a[i]], isAlphanumeric[b[i]]
		if x != y || x && a[i]|0x20 != b[i]|0x20 {
			return false
		}
	}
	return true
}
