package collector

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/snapshot"
)

// publisher builds snapshots when they are due, keeps the last few, and sends each to the traffic process. Callers of all its methods
// except noteRefilled hold Collector.drainMu.
type publisher struct {
	o       *Options
	log     *slog.Logger
	metrics *metrics
	builder *snapshot.Builder
	history *snapshot.History

	batches int       // batches since the last snapshot
	last    time.Time // when the last snapshot was built
	unsent  []byte    // the last snapshot, encoded; nil as soon as the source has taken it

	mu       sync.Mutex
	refilled map[int64]bool // hours with refilled rows since the last snapshot; guarded by mu
}

func newPublisher(o *Options, m *metrics) *publisher {
	return &publisher{
		o: o, log: o.Logger, metrics: m,
		builder:  snapshot.NewBuilder(o.Store, o.SnapshotWindow, o.Labeler.Rules),
		history:  new(snapshot.History),
		refilled: map[int64]bool{},
	}
}

// noteRefilled records that rows of an hour were refilled.
func (p *publisher) noteRefilled(hour int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refilled[hour] = true
}

func (p *publisher) touchRefilled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for hour := range p.refilled {
		p.builder.Touch(hour)
	}
	clear(p.refilled)
}

// refresh builds and sends a snapshot if one is due and would differ from the last one. If the source does not take a
// snapshot, each later call offers it again until a newer one replaces it.
func (p *publisher) refresh(ctx context.Context, through map[uuid.UUID]uint64, force bool) {
	p.touchRefilled()
	now := p.o.Now()
	since := now.Sub(p.last)
	due := force || p.batches >= p.o.SnapshotEveryBatches || since >= p.o.SnapshotInterval || since < 0
	if due && p.builder.Stale(now) {
		p.build(ctx, through)
	}
	if err := p.send(ctx); err != nil {
		p.log.Debug("the traffic process has not taken a snapshot; trying again", "error", err)
	}
}

// replaceAll builds and sends as many snapshots as are kept. After that, no older snapshot is available.
func (p *publisher) replaceAll(ctx context.Context, through map[uuid.UUID]uint64) {
	for range snapshot.Keep {
		p.build(ctx, through)
		if p.unsent == nil || p.send(ctx) != nil {
			return // the next steps offer the snapshot again, and newer snapshots eventually replace the older ones
		}
	}
}

// build builds a snapshot of the statistics. It includes the events up to the watermarks in through.
func (p *publisher) build(ctx context.Context, through map[uuid.UUID]uint64) {
	started, now := time.Now(), p.o.Now()
	p.batches, p.last = 0, now
	s, err := p.builder.Build(ctx, now, through)
	if err != nil {
		if ctx.Err() == nil {
			p.log.Error("cannot build a snapshot; the last one is still served", "error", err)
		}
		return
	}
	p.metrics.snapshotSeconds.Observe(time.Since(started).Seconds())
	p.history.Add(s)
	p.unsent = s.Encode()
}

// send offers the last snapshot to the source, unless the source already has it.
func (p *publisher) send(ctx context.Context) error {
	if p.unsent == nil || ctx.Err() != nil {
		return nil //nolint:nilerr // the context is ending; the next call sends it
	}
	if err := p.o.Source.Publish(ctx, snapshot.Topic, p.unsent); err != nil {
		return err
	}
	p.unsent = nil
	return nil
}
