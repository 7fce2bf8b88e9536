package paths

import (
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// Other is the label, host or method of everything that has no row of its own.
const Other = "(other)"

// Malformed is the label of requests whose path is unknown, because the proxy could not parse them or rejected them without reading them.
const Malformed = "(malformed)"

// LabelBytesMax is the maximum length of a label in bytes. A longer label becomes [Other].
const LabelBytesMax = 256

// HostLabelBytesMax is the maximum length of a host name in bytes. A longer host name becomes [Other].
const HostLabelBytesMax = 255

// routeBytesMax is the maximum length of a route in a row. The longest route of an event has this length if every byte of the route is
// escaped.
const routeBytesMax = 3 * event.RouteBytesMax

// Defaults of Options.
const (
	DefaultMax      = 1000
	DefaultHostsMax = 100
)

// ErrState is returned by [Labeler.Restore] for bytes that [Labeler.Changes] did not write.
var ErrState = errors.New("malformed path state")

// Options set the bounds of a Labeler.
type Options struct {
	// Max is the maximum number of templates, that is (host, label) pairs whose label is not (other); 0 means
	// DefaultMax. Rows with the label (other) keep their host and method as long as there are at most Max/10 (at least
	// 10) of them.
	Max int
	// HostsMax is the maximum number of hosts with rows of their own; 0 means DefaultHostsMax.
	HostsMax int
	// Templates are tried in this order, before everything else. See [CheckTemplate].
	Templates []string
	// LearnOff turns off learning (step 4).
	LearnOff bool
}

// Usage describes how much of the table is in use.
type Usage struct {
	Rows, RowsMax   int // number of templates, and the limit on this number
	Hosts, HostsMax int
	Labels, Levels  int // number of different labels, and of learned levels
}

// Labeler assigns labels. It must be used by one goroutine at a time; only Rules may be called from others.
type Labeler struct {
	max, unprovenMax, overflowMax, hostsMax, manyChildren int
	learnOff                                              bool
	relearning                                            bool // Relearn is running
	templates                                             []configuredTemplate
	configured                                            map[string]bool // texts of templates

	rows     map[string]*row   // rows by their key
	hosts    map[string]string // admitted hosts, each mapped to itself
	shown    map[string]int    // (host, method, template) → number of its labels
	merged   map[string]int    // (host, template) → number of its labels
	ordinary int               // admitted rows whose label is not Other
	overflow int               // admitted rows whose label is Other
	catchAll *row              // (other), (other), (other): always exists
	routed   *row              // like catchAll, but for requests that took a route
	noPath   *row              // (other), (other), (malformed): always exists
	levels   map[string]*level // learned levels
	tally    tally
	watches  map[*level]*watch

	rules  atomic.Pointer[Rules] // rules of learned and likely levels; read by other goroutines
	exact  exactRows             // (host, label) of gRPC methods → number of their rows; written by the labeler only
	likely map[string]*level     // likely levels

	nextRow, nextHost, nextLevel uint32 // order numbers of the next admissions

	journal journal // changes since Begin

	cache   cache
	scratch []byte // label being built
	key     []byte // row key being built
	other   []byte // key of a template, for a lookup
	host    []byte // host being cleaned
	route   []byte // route being cleaned
	plain   bool   // the label being built has no learned placeholder
}

// tally decides when the rows are evaluated. It counts events rather than batches, so the result does not depend on the size of batches.
type tally struct {
	events, next, interval uint64
}

// row is an admitted name of a row.
type row struct {
	name
	shown string // the template under which the row is counted for the limits
	order uint32
	count int // number of responses that prove that the route exists, up to countMax
}

// name identifies a row.
type name struct {
	host, method, label string
	route               string // configured route; empty if the request took none
	grpc                bool   // whether the label is a gRPC method; not part of the row's identity
}

// New returns an empty Labeler. It fails only if CheckTemplate rejects a template.
func New(o Options) (*Labeler, error) {
	if o.Max <= 0 {
		o.Max = DefaultMax
	}
	if o.HostsMax <= 0 {
		o.HostsMax = DefaultHostsMax
	}
	l := &Labeler{
		max: o.Max, unprovenMax: max(o.Max/10, min((o.Max+1)/2, 10)), overflowMax: max(o.Max/10, 10), hostsMax: o.HostsMax,
		manyChildren: min(64, max(o.Max*3/4, 16)), learnOff: o.LearnOff,
		rows: make(map[string]*row), hosts: make(map[string]string),
		shown: map[string]int{}, merged: map[string]int{}, levels: map[string]*level{}, likely: map[string]*level{},
		watches: map[*level]*watch{}, configured: map[string]bool{},
		catchAll: &row{name: name{host: Other, method: Other, label: Other}, count: countMax, order: catchAllOrder},
		routed:   &row{name: name{host: Other, method: Other, label: Other, route: Other}, count: countMax, order: catchAllOrder},
		noPath:   &row{name: name{host: Other, method: Other, label: Malformed}, count: countMax, order: catchAllOrder},
		cache:    cache{seed: maphash.MakeSeed()},
	}
	l.tally = tally{next: 1 << 63, interval: l.evaluateFirst()}
	for _, text := range o.Templates {
		t, err := parseTemplate(text)
		if err != nil {
			return nil, err
		}
		l.templates = append(l.templates, t)
		l.configured[text] = true
	}
	return l, nil
}

// Rules returns the rules learned so far, or nil if there are none.
func (l *Labeler) Rules() *Rules { return l.rules.Load() }

// Label returns the row in which a response is counted, by the event's host, method, path, route, status and gRPC status. The strings are
// interned: all calls for a row return the same strings, and a call for a known path allocates nothing. Label does not retain the event.
func (l *Labeler) Label(e *event.Event) catalogue.RowName {
	l.tally.events++
	if l.tally.events >= l.tally.next {
		l.evaluate()
	}
	proof := proves(e)
	key := cacheKey{host: e.Host, method: e.Method, path: e.Path, route: e.Route, grpc: e.GRPCStatus != event.GRPCNone}
	sum := l.cache.hash(&key)
	r := l.cache.get(sum, &key)
	if r == nil {
		var final bool
		if r, final = l.find(e, proof); final {
			l.cache.put(sum, &key, r)
		}
	}
	if proof && r.count < countMax {
		l.journal.counted(r)
		r.count++
	}
	return catalogue.RowName{Host: r.host, Method: r.method, Label: r.label, Route: r.route}
}

// find returns the row of an event, and admits the row if there is room. If final is true, the result is valid for every status until
// something new is learned.
func (l *Labeler) find(e *event.Event, proof bool) (r *row, final bool) {
	if len(e.Path) == 0 {
		return l.noPath, true
	}
	h, hostFinal := l.internHost(e.Host, proof)
	l.route = appendClean(l.route[:0], e.Route)
	n := name{host: h, method: internMethod(e.Method), route: view(l.route), grpc: e.GRPCStatus != event.GRPCNone && isGRPCMethod(e.Path)}
	l.scratch = l.buildLabel(l.scratch[:0], e.Path, h, proof, n.grpc)
	n.grpc = n.grpc && string(l.scratch) == string(e.Path) // the label is not a configured template
	if len(l.scratch) > LabelBytesMax {
		l.scratch = append(l.scratch[:0], Other...)
	}
	if string(l.scratch) == Other {
		return l.otherRow(n), hostFinal
	}
	hostFinal = hostFinal && l.plain
	n.label = view(l.scratch)
	l.key = appendRowKey(l.key[:0], &n)
	if r := l.rows[string(l.key)]; r != nil {
		l.keepExact(r, n.grpc)
		return r, hostFinal
	}
	if r := l.newRow(n, proof); r != nil {
		return r, hostFinal
	}
	l.evaluateSoon()
	// The result is not final as long as a later response may prove that the route exists, and the row may then be admitted.
	return l.otherRow(n), hostFinal && len(l.merged) >= l.max
}

// view returns the bytes as a string without copying them. When a row is admitted, it gets a copy of the string.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// newRow admits a row if there is room for it. The row gets its label or, if there is room for only a few more labels, its template.
// l.key is the key of the row.
func (l *Labeler) newRow(n name, proof bool) *row {
	h, label, shown := n.host, n.label, n.label
	if !n.grpc {
		shown = l.Rules().Label(h, label)
	}
	limit := l.max
	if !proof {
		limit = l.unprovenMax
	}
	if len(l.merged) >= limit {
		l.other = append(append(append(l.other[:0], h...), 0), shown...)
		if l.merged[string(l.other)] == 0 {
			return nil
		}
	}
	if len(l.shown) >= 2*l.max {
		l.other = appendRowKey(l.other[:0], &name{host: h, method: n.method, route: n.route, label: shown})
		if l.shown[string(l.other)] == 0 {
			return nil
		}
	}
	if shown != label && l.ordinary >= 3*l.max {
		n.label, label = shown, shown
		l.key = appendRowKey(l.key[:0], &n)
		if r := l.rows[string(l.key)]; r != nil {
			return r
		}
	}
	if l.ordinary >= 4*l.max {
		return nil
	}
	n.label, n.route = strings.Clone(label), strings.Clone(n.route)
	if shown == label {
		shown = n.label
	}
	return l.admit(n, shown)
}

// otherRow returns the (other) row of a host, method and route, or a catch-all row.
func (l *Labeler) otherRow(n name) *row {
	n.label, n.grpc = Other, false
	if n.host == Other && n.method == Other && n.route == "" {
		return l.catchAll
	}
	l.key = appendRowKey(l.key[:0], &n)
	if r := l.rows[string(l.key)]; r != nil {
		return r
	}
	if l.overflow >= l.overflowMax {
		if n.route != "" {
			return l.routed
		}
		return l.catchAll
	}
	n.route = strings.Clone(n.route)
	r := l.admit(n, Other)
	r.count = countMax // the labeler does not learn from it
	return r
}

// admit adds the row whose key is in l.key.
func (l *Labeler) admit(n name, shown string) *row {
	r := &row{name: n, shown: shown, order: l.nextRow}
	l.nextRow++
	l.journal.added(r)
	l.insert(string(l.key), r)
	if n.label != Other {
		l.evaluateSoon()
	}
	return r
}

// internHost returns the host's name in the statistics. final is true if this name will not change.
func (l *Labeler) internHost(host []byte, proof bool) (name string, final bool) {
	l.host = appendHost(l.host[:0], host)
	if len(l.host) > HostLabelBytesMax {
		return Other, true
	}
	if name, ok := l.hosts[string(l.host)]; ok {
		return name, true
	}
	full := len(l.hosts) >= l.hostsMax
	if full || (!proof && len(l.hosts) >= (l.hostsMax+1)/2) {
		return Other, full
	}
	name = string(l.host)
	l.hosts[name] = name
	l.journal.hosts = append(l.journal.hosts, name)
	l.nextHost++
	return name, true
}

// Usage reports how much of the table is in use.
func (l *Labeler) Usage() Usage {
	return Usage{
		Rows: len(l.merged), RowsMax: l.max, Hosts: len(l.hosts), HostsMax: l.hostsMax, Labels: l.ordinary, Levels: len(l.levels),
	}
}

// CheckTemplate returns an error if a configured template cannot be used. A template starts with "/", has at most 256
// bytes and no empty "{}", and has "**" only as a whole segment. "{name}" matches one non-empty segment, "*" any
// characters within a segment, and "**" any number of segments.
func CheckTemplate(text string) error {
	_, err := parseTemplate(text)
	return err
}

func templateError(text, why string) error { return fmt.Errorf("path template %q: %s", text, why) }
