// Package live keeps what has just happened, in memory: latency histograms per route for Prometheus, the rate of the last
// half hour in steps of ten seconds, and a feed of events for those who watch.
//
// It is fed by the drain loop with every event that was applied, once; nothing of it is stored, and a restart of the books
// process begins anew, which Prometheus understands as a counter reset. The books themselves are in the store.
//
// # Bounds
//
// Routes with histograms of their own: Options.RoutesMax, with at most seriesMax pairs of method and status each; rows with
// a rate of their own: ringsMax; watchers: WatchersMax, each with feedMax events waiting. What lies beyond is counted under
// "(other)", or told to the watcher as missed, so that totals always add up.
package live

import (
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/event"
)

// Other is the label of what has none of its own.
const Other = "(other)"

// Bounds that are not configured.
const (
	rowsMax     = 4096 // rows looked up directly; beyond, each event is filed under the row of the others
	idleMax     = time.Hour
	microsInSec = 1e6
)

// Options configure a Feed.
type Options struct {
	RoutesMax int              // metrics.paths_max: routes with histograms of their own; default 100
	Now       func() time.Time // nil means clock.Now
}

// Feed takes events from the drain loop and answers those who look. It is safe for concurrent use.
type Feed struct {
	o     Options
	began int64 // the first whole second of this feed

	mu     sync.Mutex
	rows   map[rowKey]*row
	routes map[string]*route // by label; Other is always there
	rest   *row              // of rows beyond rowsMax
	total  ring
	rings  int

	watchers watchers
}

// rowKey names a row as the tables show it.
type rowKey struct{ host, method, label string }

// row is what is kept by host, method and label. The histograms it points to may be shared with other hosts.
type row struct {
	route  *route
	method string
	series []*histogram // of route, by status, found before
	ring   *ring        // nil beyond ringsMax
}

// New returns a feed that has seen nothing.
func New(o Options) *Feed {
	if o.RoutesMax <= 0 {
		o.RoutesMax = 100
	}
	if o.Now == nil {
		o.Now = clock.Now
	}
	f := &Feed{o: o, began: o.Now().Unix() + 1, rows: map[rowKey]*row{}, routes: map[string]*route{Other: {label: Other}}}
	f.rest = &row{route: f.routes[Other], method: Other}
	return f
}

// Batch is a run of events of one epoch being taken in. The feed is locked until Close.
type Batch struct {
	f     *Feed
	epoch uuid.UUID
	now   int64 // seconds
	watch []*Watcher
}

// Begin starts a batch; Close must follow.
func (f *Feed) Begin(epoch uuid.UUID) Batch {
	b := Batch{f: f, epoch: epoch, now: f.o.Now().Unix(), watch: f.watchers.list()}
	f.mu.Lock()
	return b
}

// Close ends the batch.
func (b *Batch) Close() { b.f.mu.Unlock() }

// Add takes in one applied event with the row it was counted under. The event's slices are read during the call only.
func (b *Batch) Add(host, method, label string, seq uint64, e *event.Event) {
	if !e.IsResponse() {
		return
	}
	f := b.f
	r := f.row(rowKey{host, method, label})
	if r.route.label != label {
		f.settle(r, label, e, b.now)
	}
	r.route.seen = b.now
	r.histogram(e.Status).observe(e.LatencyMicros())
	second := e.TimeMicros / microsInSec
	f.total.add(second, b.now, e.IsError())
	if r.ring != nil {
		r.ring.add(second, b.now, e.IsError())
	}
	if len(b.watch) > 0 {
		b.tell(&Seen{Epoch: b.epoch, Seq: seq, Host: host, Method: method, Label: label, Event: e})
	}
}

// row finds a row, or makes it as long as there is room. New rows begin under the route of the others.
func (f *Feed) row(k rowKey) *row {
	r := f.rows[k]
	if r != nil {
		return r
	}
	if len(f.rows) >= rowsMax {
		return f.rest
	}
	r = &row{route: f.routes[Other], method: methodName(k.method)}
	if f.rings < ringsMax {
		r.ring = new(ring)
		f.rings++
	}
	f.rows[k] = r
	return r
}

// methodName is the method as OpenTelemetry's semantic conventions write one that is not known.
func methodName(method string) string {
	if method == Other {
		return "_OTHER"
	}
	return method
}
