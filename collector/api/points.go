package api

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/internal/memfault"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// halved calls fn with the first half of a range (number 0) and with the second (1), in parallel: reading needs processor
// time only, and a client waits for the answer. The second half begins a whole number of steps after the beginning. A panic
// in fn, as damaged files of the store may cause, becomes an error.
func halved(span snapshot.Hours, step int64, fn func(n int, half snapshot.Hours) error) error {
	middle := span.From + (span.To-span.From)/2/step*step
	if middle == span.From {
		return fn(1, span)
	}
	var halves errgroup.Group
	for n, half := range []snapshot.Hours{{From: span.From, To: middle}, {From: middle, To: span.To}} {
		halves.Go(func() error {
			return memfault.CatchError(func() error { return fn(n, half) })
		})
	}
	return halves.Wait()
}

// points sums the rows that the filter keeps, step by step.
func (h *handler) points(ctx context.Context, span snapshot.Hours, step int64, keep filter) ([]point, snapshot.Figures, error) {
	var halves [2]pointSums
	cover := snapshot.CoverageOf(h.Rows, h.Now())
	err := halved(span, step, func(n int, half snapshot.Hours) error {
		p := &halves[n]
		p.span, p.step, p.at, p.cover = half, step, half.From, cover
		err := h.rowsOf(ctx, half, keep.keeps, p.add)
		p.flush(half.To)
		return err
	})
	halves[0].totals.Merge(&halves[1].totals)
	points, totals := append(halves[0].points, halves[1].points...), snapshot.FiguresOf(&halves[0].totals, cover.Seconds(span))
	if err == nil && keep.everything() {
		err = snapshot.AddDrops(ctx, h.Rows, span, func(int64) *snapshot.Figures { return &totals })
	}
	if err == nil && len(totals.Dropped) > 0 {
		err = snapshot.AddDrops(ctx, h.Rows, span, func(hour int64) *snapshot.Figures { return &points[(hour-span.From)/step].Figures })
	}
	return points, totals, err
}

// pointSums adds rows up, step by step. The rows come hour by hour.
type pointSums struct {
	span        snapshot.Hours
	cover       snapshot.Coverage
	step        int64
	at          int64 // start of the step being summed
	sum, totals stats.Row
	points      []point
}

func (p *pointSums) add(k stats.Key, row *stats.Row) error {
	p.flush(k.Hour - (k.Hour-p.span.From)%p.step)
	p.sum.Merge(row)
	return nil
}

// flush ends the steps before an hour.
func (p *pointSums) flush(until int64) {
	if p.points == nil {
		p.points = make([]point, 0, (p.span.To-p.span.From+p.step-1)/p.step)
	}
	for p.at < until {
		end := min(p.at+p.step, p.span.To)
		seconds := p.cover.Seconds(snapshot.Hours{From: p.at, To: end})
		p.points = append(p.points, point{stats.HourStart(p.at), snapshot.FiguresOf(&p.sum, seconds)})
		p.totals.Merge(&p.sum)
		p.sum.Reset()
		p.at = end
	}
}
