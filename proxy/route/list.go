package route

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ErrAmbiguous means that servers interpret the path or the host of a request in different ways, and that the interpretation determines
// the route.
var ErrAmbiguous = errors.New("the route depends on how a server interprets the path or the host")

// None is the index that [List.Match] returns if no route matches.
const None = -1

// Conditions determine which requests a route matches.
type Conditions struct {
	Host    string   // a name, *.NAME, or an address; empty means any
	Path    string   // exact, or a prefix that ends with /*, both decoded; empty means any
	Methods []string // empty means any
	Headers []Header // all must be met
}

// Header is a condition for a field: one of its lines must have exactly this value. The name is case-insensitive.
type Header struct{ Name, Value string }

// Request is the part of a request that conditions examine. Match does not retain any of it.
type Request struct {
	Method []byte
	Host   []byte // as in the Host field; empty if the request has none
	Path   []byte // the target without the query: begins with "/", or is "*"
	Fields []byte // lines "Name: value", each ended by CRLF or LF
	// Upgrade is the value of the Upgrade field, if Fields does not contain that field.
	Upgrade []byte
}

// Scratch contains the buffers that Match uses. Only one call at a time may use it.
type Scratch struct {
	host, path, other, resolved, again, name []byte
	met                                      []uint64 // one bit per header condition
}

// scratchBytesKept is the size up to which a buffer is kept for reuse.
const scratchBytesKept = 4096

// Release frees buffers that a long path has made large.
func (s *Scratch) Release() {
	if cap(s.path)+cap(s.other)+cap(s.resolved)+cap(s.again)+cap(s.name) > scratchBytesKept {
		s.path, s.other, s.resolved, s.again, s.name = nil, nil, nil, nil, nil
	}
}

// List is an ordered list of routes. It never changes, so any number of goroutines may use it.
type List struct {
	routes     []conditions
	fields     fieldConditions
	conditions int  // number of header conditions
	hosts      bool // whether any route has a host
	paths      bool // whether any route has a path
}

// conditions are compiled Conditions.
type conditions struct {
	host    string // in the form that appendHost returns; empty means any
	below   bool   // host begins with a dot, and matches all names that end with it
	path    string // in normal form; empty means any
	prefix  bool   // path is a prefix, stored without the "/*" at its end
	methods []string
	headers []int // numbers of header conditions
}

// New checks the conditions of each route and compiles them. An error contains the number of the route, counted from 1.
func New(list []Conditions) (*List, error) {
	l := &List{fields: fieldConditions{}}
	for i, from := range list {
		c, err := l.compile(&from)
		if err != nil {
			return nil, fmt.Errorf("route %d: %w", i+1, err)
		}
		l.hosts = l.hosts || c.host != ""
		l.paths = l.paths || c.path != "" || c.prefix
		l.routes = append(l.routes, c)
	}
	return l, nil
}

func (l *List) compile(from *Conditions) (c conditions, err error) {
	if c.host, c.below, err = compileHost(from.Host); err != nil {
		return c, err
	}
	if c.path, c.prefix, err = compilePath(from.Path); err != nil {
		return c, err
	}
	c.methods = slices.Clone(from.Methods)
	for _, h := range from.Headers {
		if h.Name == "" || h.Value != strings.Trim(h.Value, " \t") || strings.ContainsAny(h.Name+h.Value, "\r\n\x00") {
			return c, fmt.Errorf("header %q: %q can never be the value of a field", h.Name, h.Value)
		}
		c.headers = append(c.headers, l.fields.add(strings.ToLower(h.Name), h.Value, &l.conditions))
	}
	return c, nil
}

func compileHost(host string) (form string, below bool, err error) {
	if host == "" {
		return "", false, nil
	}
	name, below := strings.CutPrefix(host, "*.")
	if addr, err := netip.ParseAddr(name); err == nil && addr.Is6() {
		name = "[" + name + "]"
	}
	b, ok := appendHost(nil, []byte(name))
	if !ok || len(b) == 0 || strings.ContainsAny(name, "*/@") || name[0] != '[' && strings.Contains(name, ":") {
		return "", false, fmt.Errorf("host %q: must be a name, *.NAME or an address", host)
	}
	if below {
		return "." + string(b), true, nil
	}
	return string(b), false, nil
}

func compilePath(path string) (form string, prefix bool, err error) {
	if path == "" {
		return "", false, nil
	}
	form, prefix = strings.CutSuffix(path, "/*")
	if path[0] != '/' || strings.ContainsAny(form, "%\\;?#*\x00") || form != "" && form != string(appendForm(nil, []byte(form), 0)) || prefix && strings.HasSuffix(form, "/") {
		return "", false, fmt.Errorf("path %q: must begin with a slash and be in normal form, without \\ %% ; * and dot segments", path)
	}
	return form, prefix, nil
}

// Match returns the index of the first route whose conditions the request meets, or [None]. The error is [ErrAmbiguous] if the result depends on
// how a server interprets the path or the host.
func (l *List) Match(r *Request, s *Scratch) (int, error) {
	s.met = s.met[:0]
	if l.hosts {
		host, ok := appendHost(s.host[:0], r.Host)
		s.host = host
		if !ok {
			return None, ErrAmbiguous
		}
	}
	if !l.paths || len(r.Path) == 0 || r.Path[0] != '/' {
		return l.first(r, s, nil), nil
	}
	plain, may, escaped := inspect(r.Path)
	if !plain && !validEscapes(r.Path) {
		return None, ErrAmbiguous
	}
	path := r.Path
	if !plain {
		s.path = appendForm(s.path[:0], r.Path, 0)
		path = s.path
	}
	index := l.first(r, s, path)
	if may == 0 && !escaped {
		return index, nil
	}
	if len(r.Path) > lengthMax || !l.agree(r, s, r.Path, index) || escaped && !l.agreeUnescaped(r, s, index) {
		return None, ErrAmbiguous
	}
	return index, nil
}

// agree reports whether all readings of a path lead to the same route. It covers servers that resolve the ".." segments that they see
// before decoding, but not those that appear only after decoding.
func (l *List) agree(r *Request, s *Scratch, path []byte, index int) bool {
	parents := countParents(path)
	if _, may, _ := inspect(path); may.kinds()+parents > choicesMax || !l.agreeReadings(r, s, path, index) {
		return false
	}
	for resolved := 1; resolved < 1<<parents; resolved++ {
		s.resolved = appendResolved(s.resolved[:0], path, resolved)
		if !l.agreeReadings(r, s, s.resolved, index) {
			return false
		}
	}
	return true
}

func (l *List) agreeReadings(r *Request, s *Scratch, path []byte, index int) bool {
	_, may, _ := inspect(path)
	for other := may; ; other = (other - 1) & may { // every combination of readings
		s.other = appendForm(s.other[:0], path, other)
		if l.first(r, s, s.other) != index {
			return false
		}
		if other == 0 {
			return true
		}
	}
}

// agreeUnescaped reports the same for the paths that a server sees if it decodes more than once.
func (l *List) agreeUnescaped(r *Request, s *Scratch, index int) bool {
	s.again = append(s.again[:0], r.Path...)
	for decodings := 0; ; decodings++ {
		length := len(s.again)
		s.again = appendUnescaped(s.again[:0], s.again) // in place: it never writes more than it has read
		switch {
		case len(s.again) == length:
			return true
		case decodings == decodingsMax || !l.agree(r, s, s.again, index):
			return false
		}
	}
}

// first returns the first route whose conditions hold with the given form of the path, which is nil if the request has no path.
func (l *List) first(r *Request, s *Scratch, path []byte) int {
	for i := range l.routes {
		c := &l.routes[i]
		if (c.path != "" || c.prefix) && !c.hasPath(path) || c.host != "" && !c.hasHost(s.host) {
			continue
		}
		if len(c.methods) > 0 && !c.hasMethod(r.Method) || len(c.headers) > 0 && !l.hasFields(c, r, s) {
			continue
		}
		return i
	}
	return None
}

func (c *conditions) hasPath(path []byte) bool {
	n := len(c.path)
	if !c.prefix {
		return string(path) == c.path
	}
	return len(path) >= n && string(path[:n]) == c.path && (len(path) == n || path[n] == '/') && len(path) > 0
}

func (c *conditions) hasHost(host []byte) bool {
	if c.below {
		n := len(host) - len(c.host)
		return n > 0 && string(host[n:]) == c.host
	}
	return string(host) == c.host
}

func (c *conditions) hasMethod(method []byte) bool {
	for _, m := range c.methods {
		if string(method) == m {
			return true
		}
	}
	return false
}

func (l *List) hasFields(c *conditions, r *Request, s *Scratch) bool {
	if len(s.met) == 0 {
		l.fields.met(s, r, l.conditions)
	}
	for _, number := range c.headers {
		if s.met[number/64]>>(number%64)&1 == 0 {
			return false
		}
	}
	return true
}
