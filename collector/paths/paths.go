// Package paths decides under which row of the statistics an event is counted.
//
// Rows are kept for ever, so their number must have a bound and their names must not depend on who asks. A [Labeler] turns
// (host, method, path, status) into a row name in four steps:
//
//  1. Methods outside the registered set and hosts beyond [Options.HostsMax] become [Other].
//  2. A configured template that fits the path is its label ("/users/{id}", "/static/**").
//  3. Otherwise segments that are recognisably identifiers (numbers, UUIDs, ULIDs, hashes, dates, long random tokens)
//     become "{id}"; empty segments and a trailing slash stay as they are.
//  4. The triple (host, method, label) is admitted as a new row while there is room, and never given up again. Without
//     room the event is counted under the label [Other], so that totals always add up.
//
// Nothing is ever evicted, so scanners must not fill the table: a row first seen with a status that does not prove the
// route (4xx, 501 to 504) is admitted only while less than half of [Options.Max] is used. The same holds for hosts.
//
// The outcome depends on the order of the events and on nothing else (no clock, no random numbers, no map order). What is
// learnt while a batch is labelled is handed out by [Labeler.Changes] and written in that batch's transaction, so a replay
// and a restart give every event the label it had. Losing the state loses no counts: rows stay, new ones are admitted anew.
//
// # Persisted state
//
// One entry per admitted row or host, never changed once written. Key: 'r' (row) or 'h' (host), then the order of admission
// (4 bytes, big endian). Value: version (1 byte, now 1), then for a row host, method and label, for a host the host, each as
// a uvarint length and text.
package paths

import (
	"errors"
	"fmt"
	"hash/maphash"
)

// Other is the name under which everything without a row, host or method of its own is counted.
const Other = "(other)"

// LabelBytesMax is the longest label in bytes; a longer one becomes [Other].
const LabelBytesMax = 256

// HostLabelBytesMax is the longest host name in bytes that gets rows of its own.
const HostLabelBytesMax = 255

// Defaults of Options.
const (
	DefaultMax      = 1000
	DefaultHostsMax = 100
)

// ErrState is returned by Restore for bytes that Changes did not write.
var ErrState = errors.New("malformed path state")

// Options bound a Labeler.
type Options struct {
	// Max is the number of rows, that is (host, method, label) triples, rows labelled (other) not included; 0 means
	// DefaultMax. Rows labelled (other) keep host and method as long as there are at most Max/10 (at least 10) of them.
	Max int
	// HostsMax is the number of hosts with rows of their own; 0 means DefaultHostsMax.
	HostsMax int
	// Templates are tried in order before anything else; see CheckTemplate.
	Templates []string
}

// Usage says how full the table is.
type Usage struct {
	Rows, RowsMax   int
	Hosts, HostsMax int
}

// Labeler assigns labels. It belongs to one goroutine, the drain loop.
type Labeler struct {
	max, overflowMax, hostsMax int
	templates                  []template

	rows     map[string]*row   // by rowKey
	hosts    map[string]string // admitted hosts, to themselves
	ordinary int               // admitted rows whose label is not Other
	overflow int               // admitted rows whose label is Other
	catchAll *row              // (other), (other), (other): always there

	nextRow, nextHost uint32 // order of the next admission

	// What was admitted since Begin, for Changes and Rollback.
	addedRows  []*row
	addedHosts []string

	cache   cache
	scratch []byte // label being built
	key     []byte // row key being built
	host    []byte // host being cleaned
}

// row is an admitted triple.
type row struct {
	host, method, label string
	order               uint32
}

// New returns an empty Labeler. It fails only for a template that CheckTemplate refuses.
func New(o Options) (*Labeler, error) {
	if o.Max <= 0 {
		o.Max = DefaultMax
	}
	if o.HostsMax <= 0 {
		o.HostsMax = DefaultHostsMax
	}
	l := &Labeler{
		max: o.Max, overflowMax: max(o.Max/10, 10), hostsMax: o.HostsMax,
		rows:     make(map[string]*row),
		hosts:    make(map[string]string),
		catchAll: &row{host: Other, method: Other, label: Other},
		cache:    cache{seed: maphash.MakeSeed()},
	}
	for _, text := range o.Templates {
		t, err := parseTemplate(text)
		if err != nil {
			return nil, err
		}
		l.templates = append(l.templates, t)
	}
	return l, nil
}

// Label returns the row under which a response is counted. The strings are interned: the same row gives the same strings,
// and a known path costs no allocation. The arguments are only read during the call.
func (l *Labeler) Label(host, method, path []byte, status uint16) (h, m, label string) {
	sum := l.cache.hash(host, method, path)
	if r := l.cache.get(sum, host, method, path); r != nil {
		return r.host, r.method, r.label
	}
	r, final := l.find(host, method, path, proves(status))
	if final {
		l.cache.put(sum, host, method, path, r)
	}
	return r.host, r.method, r.label
}

// find looks the row up, admitting it if the rules allow. final says that the same triple gets the same row from now on,
// whatever its status.
func (l *Labeler) find(host, method, path []byte, proof bool) (r *row, final bool) {
	h, hostFinal := l.internHost(host, proof)
	m := internMethod(method)
	l.scratch = l.build(l.scratch[:0], path)
	if len(l.scratch) > LabelBytesMax {
		l.scratch = append(l.scratch[:0], Other...)
	}
	if string(l.scratch) != Other {
		l.key = appendRowKey(l.key[:0], h, m, l.scratch)
		if r := l.rows[string(l.key)]; r != nil {
			return r, hostFinal
		}
		full := l.ordinary >= l.max
		if !full && (proof || l.ordinary < (l.max+1)/2) {
			l.ordinary++
			return l.admit(h, m, string(l.scratch)), hostFinal
		}
		// A refusal for want of proof may be reversed by a later response.
		return l.otherRow(h, m), hostFinal && full
	}
	return l.otherRow(h, m), hostFinal
}

// otherRow is the (other) row of a host and method, or the one of everybody.
func (l *Labeler) otherRow(host, method string) *row {
	if host == Other && method == Other {
		return l.catchAll
	}
	l.key = appendRowKey(l.key[:0], host, method, []byte(Other))
	if r := l.rows[string(l.key)]; r != nil {
		return r
	}
	if l.overflow >= l.overflowMax {
		return l.catchAll
	}
	l.overflow++
	return l.admit(host, method, Other)
}

// admit adds the row whose key is in l.key.
func (l *Labeler) admit(host, method, label string) *row {
	r := &row{host: host, method: method, label: label, order: l.nextRow}
	l.nextRow++
	l.rows[string(l.key)] = r
	l.addedRows = append(l.addedRows, r)
	return r
}

// internHost returns the host's name in the statistics; final says that it will not change.
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
	l.addedHosts = append(l.addedHosts, name)
	l.nextHost++
	return name, true
}

// proves reports whether a response with this status shows that the route exists. 501 to 504 are what a proxy answers
// itself when it cannot ask the upstream.
func proves(status uint16) bool {
	return status < 400 || status == 500 || status > 504
}

// Usage reports how full the table is.
func (l *Labeler) Usage() Usage {
	return Usage{Rows: l.ordinary, RowsMax: l.max, Hosts: len(l.hosts), HostsMax: l.hostsMax}
}

func appendRowKey(dst []byte, host, method string, label []byte) []byte {
	dst = append(dst, host...)
	dst = append(dst, 0) // cannot occur in cleaned names
	dst = append(dst, method...)
	dst = append(dst, 0)
	return append(dst, label...)
}

// CheckTemplate reports whether a configured template can be used: it starts with "/", has no empty "{}", at most 256
// bytes, and "**" only as a whole segment. In a template "{name}" stands for one non-empty segment, "*" for any run of
// characters within a segment, and "**" for any number of segments.
func CheckTemplate(text string) error {
	_, err := parseTemplate(text)
	return err
}

func templateError(text, why string) error { return fmt.Errorf("path template %q: %s", text, why) }
