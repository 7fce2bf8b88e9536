package uploader

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// futureTolerance is the maximum time by which a stored time can be ahead of the clock and still be trusted. If the stored time is
// further ahead, the clock was wrong when that time was stored or is wrong now, and waiting for that time could take years.
const futureTolerance = time.Hour

// planBlocksMax limits the blocks of one plan, because the store marks them in one transaction. A plan reaches this limit before its
// object is full only if the blocks are tiny, as they are at a few events per second.
const planBlocksMax = 2048

// planner groups pending blocks into plans.
type planner struct {
	service, instance string
	fields            []string
	objectBytes       int64
	after             time.Duration
	estimate          *estimate
	target            string // the target's name in the catalogue
}

// cut returns plans for all blocks that are old enough or, if all is set, for all blocks. Blocks of one hour and epoch stay in order. A
// plan ends before the block that, according to the estimate, would make its object exceed objectBytes.
func (pl *planner) cut(pending []catalogue.Pending, now time.Time, all bool) []*catalogue.Plan {
	type group struct {
		hour  int64
		epoch uuid.UUID
	}
	open := map[group]*draft{}
	var plans []*catalogue.Plan
	for i := range pending {
		b := &pending[i]
		if !all && !pl.oldEnough(b.AppliedAt, now) {
			continue
		}
		g := group{b.ID.Hour, b.Epoch}
		d := open[g]
		if d != nil && (pl.estimate.object(d.encoded+b.Bytes) > pl.objectBytes || len(d.Blocks) == planBlocksMax ||
			len(d.Runs)+len(b.Runs) > catalogue.RunsMax) {
			d = nil
		}
		if d == nil {
			d = &draft{Plan: pl.plan(b, now)}
			open[g] = d
			plans = append(plans, d.Plan)
		}
		d.add(b)
	}
	for _, p := range plans {
		p.Runs = slices.Clip(catalogue.AppendRuns(nil, p.Runs...)) // ascending, because an epoch is drained in order
		p.Key = eventsKey(p)
		p.StatsKey = StatsKey(p.Key)
	}
	slices.SortStableFunc(plans, func(a, b *catalogue.Plan) int {
		return cmp.Or(cmp.Compare(a.Hour, b.Hour), bytes.Compare(a.Epoch[:], b.Epoch[:]))
	})
	return plans
}

func (pl *planner) oldEnough(applied, now time.Time) bool {
	return !applied.After(now.Add(-pl.after)) || applied.After(now.Add(futureTolerance))
}

func (pl *planner) plan(b *catalogue.Pending, now time.Time) *catalogue.Plan {
	return &catalogue.Plan{
		State: catalogue.Planned, Hour: b.ID.Hour, Epoch: b.Epoch, FormatVersion: FormatVersion,
		Service: pl.service, Instance: pl.instance, Fields: slices.Concat(pl.fields, []string{fieldObject}), Target: pl.target, CreatedAt: now.UTC(),
	}
}

// draft is a plan to which blocks can still be added.
type draft struct {
	*catalogue.Plan
	encoded uint64
}

func (d *draft) add(b *catalogue.Pending) {
	d.Blocks = append(d.Blocks, b.ID)
	d.Runs = append(d.Runs, b.Runs...)
	d.Rows += b.Rows
	d.Lines += b.Lines
	d.encoded += b.Bytes
	if b.MaxTime.After(d.MaxTime) {
		d.MaxTime = b.MaxTime
	}
}

// estimate estimates the size of an object from the encoded size of its records. It learns from each object, even if building or sending
// the object failed.
type estimate struct {
	ratio float64 // compressed bytes per encoded byte; 0 means initialRatio
}

// initialRatio is a little above the ratio that was measured with realistic traffic (BenchmarkArchive).
const initialRatio = 0.6

// overshoot is the factor by which an object may exceed its estimate. Beyond it, the estimate is raised to the actual ratio immediately.
const overshoot = 1.1

func (e *estimate) object(encoded uint64) int64 { return int64(float64(encoded) * e.current()) }

func (e *estimate) current() float64 {
	if e.ratio == 0 {
		return initialRatio
	}
	return e.ratio
}

// learn adjusts the estimate after an object was built. If the object was much larger than estimated, the estimate is raised immediately,
// to keep the next object from being too large; otherwise, the estimate is adjusted slowly. The result stays within limits, so one
// unusual object cannot make the next plans useless.
func (e *estimate) learn(b *built) {
	if b == nil || b.encodedBytes < 64<<10 {
		return // small objects compress worse than those large enough to be cut
	}
	got := float64(b.objectBytes) / float64(b.encodedBytes)
	switch now := e.current(); {
	case got > overshoot*now:
		e.ratio = min(got, 4)
	case e.ratio == 0:
		e.ratio = max(min(got, now), 0.02)
	case got < now:
		e.ratio = max(0.5*now+0.5*got, 0.02)
	}
}
