package uploader

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// futureTolerance is how far ahead of the clock a stored time may be and still be believed. Beyond it the clock was wrong
// then or is wrong now, and waiting for that time could take years.
const futureTolerance = time.Hour

// planBlocksMax bounds the blocks of one plan, which the store marks in one transaction. Only where blocks are tiny, at a
// few events a second, is it reached before the object's size.
const planBlocksMax = 2048

// planner cuts pending blocks into plans.
type planner struct {
	service, instance string
	fields            []string
	objectBytes       int64
	after             time.Duration
	estimate          *estimate
	target            string // its name in the catalogue
}

// cut returns the plans for all blocks that are old enough, or for all blocks. Blocks of one hour and epoch stay in order;
// a plan ends where the next block would take the object past objectBytes, by estimate.
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
		p.Runs = slices.Clip(catalogue.AppendRuns(nil, p.Runs...)) // in order, because an epoch is drained in order
		p.Key = pl.key(p)
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
		Service: pl.service, Instance: pl.instance, Fields: pl.fields, Target: pl.target, CreatedAt: now.UTC(),
	}
}

// key names the object. The first sequence number alone makes it unique within hour and epoch: no number is in two plans.
func (pl *planner) key(p *catalogue.Plan) string {
	k := []byte(HourPrefix(p.Hour))
	k = append(catalogue.AppendName(k, p.Service), '_')
	k = append(catalogue.AppendName(k, p.Instance), '_')
	k = append(k, p.Epoch.String()...)
	k = append(k, '_')
	k = strconv.AppendUint(k, p.Runs[0].First, 10)
	k = append(k, '-')
	k = strconv.AppendUint(k, p.Runs[len(p.Runs)-1].Last, 10)
	return string(append(k, objectSuffix...))
}

// EventsPrefix is what the keys of all event objects begin with.
const EventsPrefix = "v1/dt="

// HourPrefix is what the keys of the objects of an hour begin with. hour counts from 1970-01-01T00:00Z.
func HourPrefix(hour int64) string {
	// "v1" must stay out of the layout: its 1 would become the month.
	return "v1/" + time.Unix(hour*3600, 0).UTC().Format("dt=2006-01-02/hour=15/")
}

// draft is a plan that is still taking blocks.
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

// estimate foretells how large an object will be from the encoded size of its records. It learns from each object made, also
// from those whose building or sending fails. Owned by whoever runs the job.
type estimate struct {
	ratio float64 // compressed bytes per encoded byte; 0 means initialRatio
}

// initialRatio is a little above what realistic traffic gave when measured (BenchmarkArchive).
const initialRatio = 0.6

// overshoot is by how much an object may be larger than foretold before the estimate follows at once.
const overshoot = 1.1

func (e *estimate) object(encoded uint64) int64 { return int64(float64(encoded) * e.current()) }

func (e *estimate) current() float64 {
	if e.ratio == 0 {
		return initialRatio
	}
	return e.ratio
}

// learn takes over what an object turned out to be: at once if it was larger than foretold, so that the next one is not too
// large as well, and by and by if it was smaller. The result stays within bounds, so that one odd object cannot spoil the next
// cuts.
func (e *estimate) learn(b *built) {
	if b == nil || b.encodedBytes < 64<<10 {
		return // small objects compress worse than the ones that need a cut
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
