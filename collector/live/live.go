// Package live keeps recent activity in memory: latency histograms by route for Prometheus, the rates of the last half hour in
// steps of ten seconds, and a feed of events for watchers.
//
// The drain loop adds every applied event exactly once. Nothing is stored: after a restart of the books process, all counts start at
// zero, which Prometheus treats as a counter reset. The books themselves are in the store.
//
// # Bounds
//
// At most Options.RoutesMax routes have their own histograms, each with at most seriesMax pairs of method and status. At most ringsMax
// rows have their own rates, and at most namedMax configured routes their own counters. There are at most WatchersMax watchers, and at
// most feedMax events wait for each of them. Everything beyond these bounds is counted under "(other)" or reported to the watcher as
// missed, so totals always add up.
package live

import (
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/event"
)

// Other is the label of all routes without histograms of their own.
const Other = "(other)"

// Bounds that are not configurable.
const (
	rowsMax     = 4096 // the events of all other rows are counted in a single row
	idleMax     = time.Hour
	microsInSec = 1e6
	firstSeq    = 1 // number of the first event of an epoch
)

// Options configure a Feed.
type Options struct {
	RoutesMax int              // metrics.paths_max: routes with their own histograms; default 100
	Now       func() time.Time // nil means clock.Now
}

// Feed receives events from the drain loop and provides the recent activity. It is safe for concurrent use.
type Feed struct {
	o Options

	mu     sync.Mutex // guards the following fields
	since  int64      // the second from which the rings have every response; older responses may have been counted by an earlier process
	rows   map[rowKey]*row
	routes map[string]*route // by label; always contains Other
	named  map[string]*named // configured routes by name
	other  *row              // the row for all rows beyond rowsMax
	total  ring
	rings  int // number of rows that have a ring
	// fullUntil is in seconds since 1970. Until then, no route can have been idle for idleMax, so none can be removed.
	fullUntil int64

	watchers watchers
}

// rowKey is the name of a row in the tables.
type rowKey = catalogue.RowName

// row is the activity of one row of the tables. Rows of other hosts may share its route.
type row struct {
	route  *route
	method string
	series []*histogram // those histograms of route that this row has used
	ring   *ring        // nil beyond ringsMax
}

// New returns an empty feed.
func New(o Options) *Feed {
	if o.RoutesMax <= 0 {
		o.RoutesMax = 100
	}
	if o.Now == nil {
		o.Now = clock.Now
	}
	f := &Feed{o: o, since: o.Now().Unix() + 1, rows: map[rowKey]*row{}, routes: map[string]*route{Other: {label: Other}}, named: map[string]*named{}}
	f.other = &row{route: f.routes[Other], method: Other}
	return f
}

// Batch is a run of events of one epoch while it is being added. The feed is locked until Close.
type Batch struct {
	f     *Feed
	epoch uuid.UUID
	now   int64 // seconds
	watch []*Watcher
}

// Begin starts a batch and locks the feed. The caller must close the batch.
func (f *Feed) Begin(epoch uuid.UUID) Batch {
	b := Batch{f: f, epoch: epoch, now: f.o.Now().Unix(), watch: f.watchers.list()}
	f.mu.Lock()
	return b
}

// Close ends the batch.
func (b *Batch) Close() { b.f.mu.Unlock() }

// Add adds one applied event to the row in which it was counted. It does not retain the event's slices.
func (b *Batch) Add(row catalogue.RowName, seq uint64, e *event.Event) {
	f, second := b.f, e.TimeMicros/microsInSec
	if seq == firstSeq {
		f.since = min(f.since, second) // none of this epoch's events had been counted before, so the feed has all of them
	}
	if !e.IsResponse() {
		return
	}
	r := f.row(row)
	if r.route.label != row.Label {
		f.assignRoute(r, row.Label, notFound(e), b.now)
	}
	r.route.seen = b.now
	r.histogram(e.Status).observe(e.LatencyMicros())
	f.countEdge(r, row.Route, e)
	if second >= f.since {
		f.total.add(second, b.now, e.IsError())
		if r.ring != nil {
			r.ring.add(second, b.now, e.IsError())
		}
	}
	if len(b.watch) > 0 {
		b.deliver(&Seen{Epoch: b.epoch, Seq: seq, Row: row, Event: e})
	}
}

// row finds a row, or adds it if there is room. A new row starts with the route Other.
func (f *Feed) row(k rowKey) *row {
	r := f.rows[k]
	if r != nil {
		return r
	}
	if len(f.rows) >= rowsMax {
		return f.other
	}
	r = &row{route: f.routes[Other], method: methodName(k.Method)}
	if f.rings < ringsMax {
		r.ring = new(ring)
		f.rings++
	}
	f.rows[k] = r
	return r
}

// methodName returns the method in the form that OpenTelemetry's semantic conventions require: unknown methods become "_OTHER".
func methodName(method string) string {
	if method == Other {
		return "_OTHER"
	}
	return method
}
