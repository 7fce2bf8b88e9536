// Package collector implements the drain loop: it moves events from the spools to the store, exactly once, and publishes snapshots of the
// statistics.
//
// One step ([Collector.DrainOnce]) peeks at a run of events of one epoch, decodes and labels them (package paths), applies them to the
// store in one synced transaction that also contains the watermark and the labeler's changes, and then acknowledges them. After a crash
// between any two of these actions, the next step repeats the work: it skips events at or below the watermark, and gives all others the
// same labels as before.
//
// # When something fails
//
// Some errors cannot be fixed by dropping events: the source is unreachable or has a newer version, the store cannot write
// ([store.ErrUnavailable]), or the data directory has reached its disk limits. In these cases, the step is undone, including its labels,
// and retried until it succeeds; in the meantime, the spool fills. Other errors are caused by the events themselves (a malformed record,
// a panic). After three attempts, the run is divided until the failing events are isolated. These are quarantined with the reason and
// counted, and draining continues. This package never discards an event.
//
// The collector starts no goroutines. [Collector.Run] blocks; all other methods may be called while it is running.
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

	"github.com/wayside-proxy/wayside/collector/live"
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/spool"
)

// Store is where events are applied. [store.Store] implements it and documents the methods.
type Store interface {
	Apply(b *store.Batch) error
	Quarantine(epoch uuid.UUID, lastSeq, responses uint64, raw []byte, reason string) error
	Refill(ctx context.Context, r *store.Refill) error
	Forget(ctx context.Context, f *store.Forget) (*catalogue.Forgotten, error)
	Expunge(ctx context.Context) error

	Watermarks() map[uuid.UUID]uint64
	Marks() map[uuid.UUID]store.Mark
	LimitUnreconciled(epochs []uuid.UUID) error
	MarkUnreconciled(epoch uuid.UUID) error
	SetLedger(l store.Ledger) error
	Ledgers() []store.Ledger

	NoteRun(epoch uuid.UUID, began, now time.Time) error

	Totals() (store.Totals, error)
	Account(ctx context.Context) (totals store.Totals, aggregated uint64, err error)
	Rows(ctx context.Context, fromHour, toHour int64, fn func(stats.Key, *stats.Row) error) error
	PathState(fn func(key, value []byte) error) error
	SetPathState(ctx context.Context, changes []store.StateChange) error
	ImportedResponses() uint64
	Size() (lsm, vlog int64)
	Capacity(ctx context.Context, since time.Time, fn func(store.CapacitySample) error) error
}

// Errors of DrainOnce. Nothing is lost: the next call gets the same events again.
var (
	// ErrPaused means that the data directory has reached data.bytes_max, or that the disk has less than data.free_min free. The error
	// message says which of the two applies.
	ErrPaused = errors.New("paused")
	// ErrSource means that the spools cannot be reached.
	ErrSource = errors.New("spool not reachable")
)

const (
	peekBytesMax   = 512 << 10       // bytes per Peek while there is a backlog
	guardInterval  = 2 * time.Second // time between measurements of the disk
	retireInterval = 5 * time.Second // time between comparisons of ledgers
)

// Options configure a Collector.
type Options struct {
	Source  spool.Source   // required
	Store   Store          // required
	Labeler *paths.Labeler // required; New restores its state from the store

	RawPathsOff bool // paths.raw: off, which stores only the label of an event, not its path

	PeekEvents     int           // drain at this many pending events, default 4096 …
	PeekWait       time.Duration // … or this long after the oldest of them, default 1s
	ApplyEventsMax int           // maximum number of events per transaction, default 8192

	SnapshotEveryBatches int           // publish after this many batches, default 10 …
	SnapshotInterval     time.Duration // … or this long after the last one, default 1s, if anything has changed
	SnapshotWindow       time.Duration // period that a snapshot covers, default 24h

	DataDir       string // measured for the disk limits; if empty, nothing is measured or limited
	ArchiveDir    string // a directory archive, if it is outside DataDir
	BytesMax      int64  // data.bytes_max; 0: no limit
	FreeMin       int64  // data.free_min; 0: no limit
	SpoolBytesMax int64  // limit of the spool; room for a full spool is reserved below BytesMax; 0: unknown, nothing is reserved

	RoutesMax int // metrics.paths_max: routes with their own latency histograms, default 100

	// Span is called for each applied event that has an [event.Span], with the row in which the event was counted. It must not block, and
	// must not retain the event. It is called once per event, unless the process dies. nil means that spans are discarded.
	Span func(epoch uuid.UUID, seq uint64, row catalogue.RowName, e *event.Event)

	Now    func() time.Time // nil means clock.Now
	Logger *slog.Logger     // nil means slog.Default
}

func (o *Options) setDefaults() error {
	if o.Source == nil || o.Store == nil || o.Labeler == nil {
		return errors.New("collector: Source, Store and Labeler are required")
	}
	setDefault(&o.PeekEvents, 4096)
	setDefault(&o.PeekWait, time.Second)
	setDefault(&o.ApplyEventsMax, 8192)
	setDefault(&o.SnapshotEveryBatches, 10)
	setDefault(&o.SnapshotInterval, time.Second)
	setDefault(&o.SnapshotWindow, 24*time.Hour)
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

	metrics    *metrics
	registry   *prometheus.Registry
	live       *live.Feed
	publisher  *publisher
	reconciler *reconciler
	accounts   *accountReader

	drainMu   sync.Mutex // held during a step; guards the following fields, publisher and reconciler
	items     []store.Item
	malformed int // number of items whose record cannot be decoded
	applied   map[uuid.UUID]uint64
	compared  time.Time // when ledgers were last compared
	backlog   backlog

	storeMu sync.Mutex // held while the store changes, so View can read a consistent set of figures

	statusMu sync.Mutex
	status   Status // guarded by statusMu
}

// Status describes what the collector is doing.
type Status struct {
	// State is "running", or "paused: …" or "unavailable: …" followed by the reason.
	State           string
	Since           time.Time // when State last changed
	Applied         uint64    // events applied by this process
	Batches         uint64
	QuarantinedRuns uint64        // quarantined by this process
	Lag             time.Duration // age of the newest applied event when it was applied; 0 if nothing is pending
	SnapshotVersion uint64        // 0 before the first snapshot
	Paths           paths.Usage
	Backlog         Backlog
}

const stateRunning = "running"

// stateDisconnected is the final state: the traffic process closes its connection only once and does not reopen it.
const stateDisconnected = "the traffic process has closed its connection"

// New restores the state of the labeler and returns a collector that is not running yet.
func New(o Options) (*Collector, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	c := &Collector{
		o: o, log: o.Logger,
		guard:   newGuard(o),
		live:    live.New(live.Options{RoutesMax: o.RoutesMax, Now: o.Now}),
		applied: o.Store.Watermarks(),
		status:  Status{State: stateRunning, Since: o.Now()},
	}
	if c.applied == nil {
		c.applied = map[uuid.UUID]uint64{}
	}
	if err := c.restoreLabels(); err != nil {
		return nil, err
	}
	c.metrics, c.registry = newMetrics(c)
	c.accounts = &accountReader{store: o.Store, storeMu: &c.storeMu, reading: make(chan struct{}, 1)}
	c.publisher = newPublisher(&c.o, c.metrics)
	c.reconciler = newReconciler(&c.o, c.metrics, &c.storeMu)
	return c, nil
}

// restoreLabels restores the labeler from the store.
func (c *Collector) restoreLabels() error {
	damaged := 0
	err := c.o.Store.PathState(func(key, value []byte) error {
		if err := c.o.Labeler.Restore(key, value); err != nil {
			damaged++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("restore path labels: %w", err)
	}
	if damaged > 0 {
		c.log.Warn("cannot read some path labels; they will be learned again, and no counts are lost", "entries", damaged)
	}
	c.status.Paths = c.o.Labeler.Usage()
	return nil
}

// Snapshots returns the latest versions of the snapshot.
func (c *Collector) Snapshots() *snapshot.History { return c.publisher.history }

// Live returns the feed of recent rates and events.
func (c *Collector) Live() *live.Feed { return c.live }

// Rules returns the rules that currently determine under which label each row is shown. The result is nil until something has been
// learned.
func (c *Collector) Rules() *paths.Rules { return c.o.Labeler.Rules() }

// Registry returns the collector's own metrics.
func (c *Collector) Registry() *prometheus.Registry { return c.registry }

// Status returns the current status.
func (c *Collector) Status() Status {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	s := c.status
	if latest := c.publisher.history.Latest(); latest != nil {
		s.SnapshotVersion = latest.Version
	}
	return s
}

// setState sets the state, and logs it if it has changed.
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
		c.log.Info("resumed applying events")
	case state == stateDisconnected: // `wayside run` is stopping or restarting the books process
		c.log.Info("no longer applying events: " + stateDisconnected)
	default:
		c.log.Warn("cannot apply events; they stay in the spool until the next attempt", "state", state)
	}
}

func (c *Collector) updateStatus(fn func(*Status)) {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	fn(&c.status)
}
