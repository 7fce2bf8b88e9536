package collector

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/api/snapshot"
)

// publishState is what decides when the next snapshot is due; guarded by drainMu.
type publishState struct {
	batches int       // since the last snapshot
	last    time.Time // when it was made
	unsent  []byte    // encoded, if publishing it failed
}

// refreshSnapshot makes and publishes a snapshot if one is due and would say anything new. A snapshot that the source did
// not take is offered again with each call until it does or a newer one replaces it.
func (c *Collector) refreshSnapshot(ctx context.Context, force bool) {
	c.touchRefilled()
	now := c.o.Now()
	since := now.Sub(c.publish.last)
	due := force || c.publish.batches >= c.o.SnapshotEveryBatches || since >= c.o.SnapshotInterval || since < 0
	if due && c.builder.Stale(now) {
		c.makeSnapshot(ctx, now)
	}
	if c.publish.unsent == nil || ctx.Err() != nil {
		return
	}
	if err := c.o.Source.Publish(ctx, snapshot.Topic, c.publish.unsent); err != nil {
		c.log.Debug("snapshot not taken by the traffic process", "error", err)
		return
	}
	c.publish.unsent = nil
}

func (c *Collector) makeSnapshot(ctx context.Context, now time.Time) {
	started := time.Now()
	c.publish.batches, c.publish.last = 0, now
	s, err := c.builder.Build(ctx, now, c.through())
	if err != nil {
		if ctx.Err() == nil {
			c.log.Error("no new snapshot", "error", err)
		}
		return
	}
	c.metrics.snapshotSeconds.Observe(time.Since(started).Seconds())
	c.snapshots.Add(s)
	c.publish.unsent = s.Encode()
	c.updateStatus(func(st *Status) { st.SnapshotVersion = s.Version })
}

// through are the watermarks of the epochs that may still grow. Those that are finished are counted in full.
func (c *Collector) through() map[uuid.UUID]uint64 {
	out := make(map[uuid.UUID]uint64)
	for epoch, seq := range c.applied {
		if !c.done[epoch] {
			out[epoch] = seq
		}
	}
	return out
}
