package api

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/internal/memfault"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// halved calls fn for both halves of a range in parallel; n is 0 for the first half and 1 for the second. Reading is limited by the CPU,
// so this shortens the time that the client waits. The second half begins a whole number of steps after the first. If fn panics, which
// can happen if store files are damaged, the panic becomes an error.
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

// points sums the rows that the filter keeps, separately for each step of the range; step is in minutes. Steps of whole hours are counted
// from the first hour of the range. Shorter steps are aligned to the clock. The first and the last step may therefore be shorter. If bins
// is not 0, each point also gets its latencies in that many bins per doubling of the latency.
func (h *handler) points(ctx context.Context, s *span, step int64, bins int, keep filter) ([]point, snapshot.Figures, error) {
	g := grid{span: s, anchor: s.Range.Hours().From * stats.HourMinutes, step: step, bins: bins, cover: snapshot.CoverageOf(h.Rows, h.Now())}
	if step < stats.HourMinutes {
		g.anchor = s.From - s.From%step
	}
	g.length = (s.To - g.anchor + step - 1) / step
	if err := h.fillMinutes(ctx, &g, keep); err != nil {
		return nil, snapshot.Figures{}, err
	}
	var halves [2]pointSums
	err := halved(snapshot.Hours{From: 0, To: g.length}, 1, func(n int, half snapshot.Hours) error {
		p := &halves[n]
		p.grid, p.at = &g, half.From
		hours := snapshot.Hours{From: max(s.hours.From, g.hour(half.From)), To: min(s.hours.To, g.hour(half.To))}
		var err error
		if step >= stats.HourMinutes && hours.From < hours.To {
			err = h.rowsOf(ctx, hours, keep.keeps, p.add)
		}
		p.flush(half.To)
		return err
	})
	halves[0].totals.Merge(&halves[1].totals)
	points, totals := append(halves[0].points, halves[1].points...), snapshot.FiguresOf(&halves[0].totals, g.cover.Seconds(s.Range))
	if err == nil && keep.everything() {
		err = snapshot.AddDrops(ctx, h.Rows, s.Range.Hours(), func(int64) *snapshot.Figures { return &totals })
	}
	if err == nil && len(totals.Dropped) > 0 {
		err = snapshot.AddDrops(ctx, h.Rows, s.Range.Hours(), func(hour int64) *snapshot.Figures {
			return &points[g.index(max(hour*stats.HourMinutes, s.From))].Figures
		})
	}
	return points, totals, err
}

// fillMinutes adds, to each step, those of its minutes that whole hours do not cover.
func (h *handler) fillMinutes(ctx context.Context, g *grid, keep filter) error {
	g.minutes = map[int64]*stats.Row{}
	rowsOf := func(k stats.Key) func(int64) *stats.Row {
		if !keep.keeps(h.shownKey(k)) {
			return nil
		}
		return func(minute int64) *stats.Row {
			i := g.index(minute)
			if g.minutes[i] == nil {
				g.minutes[i] = new(stats.Row)
			}
			return g.minutes[i]
		}
	}
	if g.step < stats.HourMinutes {
		return h.addRange(ctx, g.span.Range, rowsOf)
	}
	return h.addMinutes(ctx, g.span, rowsOf)
}

// grid divides a range into steps.
type grid struct {
	span         *span
	cover        snapshot.Coverage
	anchor, step int64                // in minutes
	length       int64                // steps
	bins         int                  // latency bins per doubling; 0: none
	minutes      map[int64]*stats.Row // rows of the minutes that whole hours do not cover, by step
}

// index returns the step to which a minute belongs.
func (g *grid) index(minute int64) int64 { return (minute - g.anchor) / g.step }

// hour returns the hour in which a step begins.
func (g *grid) hour(i int64) int64 { return stats.HourOfMinute(g.anchor + i*g.step) }

// rangeOf returns the part of the range that falls into a step.
func (g *grid) rangeOf(i int64) snapshot.Range {
	from := g.anchor + i*g.step
	return snapshot.Range{From: max(from, g.span.From), To: min(from+g.step, g.span.To)}
}

// pointSums adds up rows, step by step. The rows must be added in the order of their hours.
type pointSums struct {
	*grid
	at          int64 // the step being summed
	sum, totals stats.Row
	points      []point
}

func (p *pointSums) add(k stats.Key, row *stats.Row) error {
	p.flush(p.index(k.Hour * stats.HourMinutes))
	p.sum.Merge(row)
	return nil
}

// flush finishes all steps before until.
func (p *pointSums) flush(until int64) {
	for ; p.at < until; p.at++ {
		if row := p.minutes[p.at]; row != nil {
			p.sum.Merge(row)
		}
		r := p.rangeOf(p.at)
		point := point{Time: stats.MinuteStart(r.From), Figures: snapshot.FiguresOf(&p.sum, p.cover.Seconds(r))}
		if p.bins > 0 {
			point.Bins = latencyBinsOf(&p.sum.Latency, p.bins)
		}
		p.points = append(p.points, point)
		p.totals.Merge(&p.sum)
		p.sum.Reset()
	}
}
