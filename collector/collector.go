// Package collector is the drain loop: it carries events from the spools into the store, exactly once, and publishes what
// the statistics say.
//
// One step ([Collector.DrainOnce]) is: Peek a run of events of one epoch, decode, label (package paths), apply to the store
// in one synced transaction that also holds the watermark and what the labeler learnt, then Ack. A crash between any two of
// these leads to the same step again: events at or below the watermark are skipped, and events that were not applied are
// labelled as they would have been.
//
// # When something fails
//
// Errors are sorted by whose fault they are. A source that is away, or of a newer version, a store that cannot write
// ([store.ErrUnavailable]) and a disk beyond its limits cannot be fixed by dropping events: the step is undone, labels included,
// and tried again later for as long as it takes, while the spool fills. A batch that fails for its own sake (a malformed record, a
// panic) three times is taken apart until what fails is isolated; that part goes to quarantine, bytes and reason, is counted
// there, and draining goes on. No event is discarded anywhere in this package.
//
// The collector starts no goroutines. [Collector.Run] blocks; all other methods may be called meanwhile.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/collector/api"
	"github.com/wayside-proxy/wayside/collector/api/snapshot"
	"github.com/wayside-proxy/wayside/collector/live"
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/spool"
)

// Source is where events come from: the spools of one data directory, in process or over a socket.
type Source interface {
	// Peek returns unacknowledged batches of one epoch in order, waiting as its options say; none after MaxWait with
	// nothing pending.
	Peek(ctx context.Context, o spool.PeekOptions) ([]event.Batch, error)
	// Ack says that everything of the epoch up to and including seq is durable elsewhere.
	Ack(ctx context.Context, epoch uuid.UUID, seq uint64) error
	// Ledgers returns the account of every epoch that is there; applied are the watermarks.
	Ledgers(ctx context.Context, applied map[uuid.UUID]uint64) ([]spool.Ledger, error)
	// Settle makes the account of an epoch agree with what the store holds of it, and returns the responses that were
	// acknowledged and are not in the store.
	Settle(ctx context.Context, epoch uuid.UUID, seq, held uint64) (missing uint64, err error)
	// Retire removes a closed, fully acknowledged epoch whose ledger is stored.
	Retire(ctx context.Context, epoch uuid.UUID) error
	// Publish leaves bytes with the traffic process.
	Publish(ctx context.Context, topic string, body []byte) error
}

// Store is where events go; *store.Store satisfies it.
type Store interface {
	Apply(b *store.Batch) error
	Quarantine(epoch uuid.UUID, lastSeq, responses uint64, raw []byte, reason string) error
	Watermarks() map[uuid.UUID]uint64
	Marks() map[uuid.UUID]store.Mark
	NarrowDoubt(epochs []uuid.UUID) error
	Doubt(epoch uuid.UUID) error
	SetLedger(l store.Ledger) error
	Ledgers() []store.Ledger
	Totals() (store.Totals, error)
	Account(ctx context.Context) (totals store.Totals, aggregated uint64, err error)
	Rows(ctx context.Context, fromHour, toHour int64, fn func(stats.Key, *stats.Row) error) error
	PathState(fn func(key, value []byte) error) error
	Size() (lsm, vlog int64)
	Capacity(ctx context.Context, since time.Time, fn func(store.CapacitySample) error) error
}

// Errors of DrainOnce. Neither loses anything: the same events come again with the next call.
var (
	// ErrPaused means that the disk is beyond data.bytes_max or below data.free_min; the text names which.
	ErrPaused = errors.New("paused")
	// ErrSource means that the spools cannot be reached.
	ErrSource = errors.New("spool not reachable")
)

// Options configure a Collector.
type Options struct {
	Source  Source         // required
	Store   Store          // required
	Labeler *paths.Labeler // required; New restores its state from the store

	RawPathsOff bool // paths.raw: off; events are stored with their label only, not with the path

	PeekEvents     int           // drain at this many pending events, default 4096 …
	PeekWait       time.Duration // … or this long after the oldest of them, default 1s
	PeekBytesMax   int           // most bytes per Peek, default 1 MiB: how much of a backlog is taken at once
	ApplyEventsMax int           // most events per transaction, default 8192

	SnapshotEveryBatches int           // publish after this many batches, default 10 …
	SnapshotInterval     time.Duration // … or this long after the last one, default 1s; only if anything changed
	SnapshotWindow       time.Duration // hours that a snapshot covers, default 24h
	SnapshotsKept        int           // default 5

	DataDir       string        // measured for the disk limits; empty: neither measured nor limited
	ArchiveDir    string        // local archive, if it is outside DataDir
	BytesMax      int64         // data.bytes_max; 0: no limit
	FreeMin       int64         // data.free_min; 0: no limit
	SpoolBytesMax int64         // what the spool may grow to: room for it is left below BytesMax; 0: not known, none is left
	GuardInterval time.Duration // how often the disk is looked at, default 2s

	RoutesMax int // metrics.paths_max: routes with latency histograms of their own, default 100

	RetireInterval time.Duration // how often finished epochs are looked for, default 5s

	Now    func() time.Time // nil means clock.Now
	Logger *slog.Logger     // nil means slog.Default
}

func (o *Options) setDefaults() error {
	if o.Source == nil || o.Store == nil || o.Labeler == nil {
		return errors.New("collector: Source, Store and Labeler are required")
	}
	setDefault(&o.PeekEvents, 4096)
	setDefault(&o.PeekWait, time.Second)
	setDefault(&o.PeekBytesMax, 1<<20)
	setDefault(&o.ApplyEventsMax, 8192)
	setDefault(&o.SnapshotEveryBatches, 10)
	setDefault(&o.SnapshotInterval, time.Second)
	setDefault(&o.SnapshotWindow, 24*time.Hour)
	setDefault(&o.GuardInterval, 2*time.Second)
	setDefault(&o.RetireInterval, 5*time.Second)
	if o.Now == nil {
		o.Now = clock.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Collector drains spools into a store.
type Collector struct {
	o     Options
	log   *slog.Logger
	guard *guard

	metrics   *metrics
	registry  *prometheus.Registry
	snapshots *snapshot.History
	live      *live.Feed

	drainMu    sync.Mutex // held for a step; guards what follows
	items      []store.Item
	bad        int // malformed records among items
	applied    map[uuid.UUID]uint64
	builder    *api.Builder
	publish    publishState
	retired    time.Time          // when finished epochs were last looked for
	done       map[uuid.UUID]bool // epochs whose final ledger is stored
	reconciled map[uuid.UUID]bool // epochs whose figures were made to agree by this process
	idle       bool               // once, nothing was pending
	adopted    bool               // epochs without a ledger were looked for
	backlog    backlog

	refills refillState

	booksMu sync.Mutex    // held while the store changes; View takes it to see watermarks and totals that belong together
	viewing chan struct{} // held by the one View that reads

	statusMu sync.Mutex
	status   Status
}

// Status is what the collector says about itself.
type Status struct {
	// State is "running", "paused: …" or "unavailable: …" with the reason.
	State           string
	Since           time.Time // of the state
	Applied         uint64    // events applied by this process
	Batches         uint64
	QuarantinedRuns uint64        // parts put into quarantine by this process
	Lag             time.Duration // age of the newest event applied, at that moment; 0 with nothing pending
	SnapshotVersion uint64
	Paths           paths.Usage
	Backlog         Backlog
}

const stateRunning = "running"

// stateAway is the state of a collector whose spool's process has closed the connection, for good.
const stateAway = "the traffic process has closed its connection"

// New restores the labeler's state and returns a collector; nothing runs yet.
func New(o Options) (*Collector, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	c := &Collector{
		o: o, log: o.Logger,
		guard:     newGuard(o),
		snapshots: snapshot.NewHistory(o.SnapshotsKept),
		live:      live.New(live.Options{RoutesMax: o.RoutesMax, Now: o.Now}),
		builder:   api.NewBuilder(o.Store, o.SnapshotWindow, o.Labeler.Rules),
		applied:   o.Store.Watermarks(),
		viewing:   make(chan struct{}, 1),
		status:    Status{State: stateRunning, Since: o.Now()},
	}
	if c.applied == nil {
		c.applied = map[uuid.UUID]uint64{}
	}
	c.refills.hours = make(map[int64]bool)
	c.done, c.reconciled = make(map[uuid.UUID]bool), make(map[uuid.UUID]bool)
	for _, l := range o.Store.Ledgers() {
		c.done[l.Epoch] = true
	}
	damaged := 0
	err := o.Store.PathState(func(key, value []byte) error {
		if err := o.Labeler.Restore(key, value); err != nil {
			damaged++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("restore path labels: %w", err)
	}
	if damaged > 0 {
		c.log.Warn("path labels could not be read and will be learnt anew; no counts are lost", "entries", damaged)
	}
	c.status.Paths = o.Labeler.Usage()
	c.metrics, c.registry = newMetrics(c)
	return c, nil
}

// Snapshots are the versions kept, for serving.
func (c *Collector) Snapshots() *snapshot.History { return c.snapshots }

// Live is what has just happened: recent rates, and events for those who watch.
func (c *Collector) Live() *live.Feed { return c.live }

// Rules say under which template a row is shown today; nil until something was learnt.
func (c *Collector) Rules() *paths.Rules { return c.o.Labeler.Rules() }

// Registry holds the collector's own metrics and nothing else.
func (c *Collector) Registry() *prometheus.Registry { return c.registry }

// Status reports how the collector is doing.
func (c *Collector) Status() Status {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	return c.status
}

// setState notes a state and logs it when it is a new one.
func (c *Collector) setState(state string) {
	c.statusMu.Lock()
	changed := c.status.State != state
	if changed {
		c.status.State, c.status.Since = state, c.o.Now()
	}
	c.statusMu.Unlock()
	switch {
	case !changed:
	case state == stateRunning:
		c.log.Info("applying again")
	case state == stateAway: // when wayside run stops, or starts the books anew
		c.log.Info("applying has ended: " + stateAway)
	default:
		c.log.Warn("applying is held up; events stay in the spool", "state", state)
	}
}

func (c *Collector) updateStatus(fn func(*Status)) {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	fn(&c.status)
}
