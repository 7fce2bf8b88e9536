package api

import (
	"context"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// halved calls fn with the first half of a range (number 0) and with the second (1), at a time where there are processors
// for it: reading is all work, and somebody waits for it. The second begins a whole number of steps behind the beginning.
func halved(span hours, step int64, fn func(n int, half hours) error) error {
	middle := span.from + (span.to-span.from)/2/step*step
	if middle == span.from {
		return fn(1, span)
	}
	return store.AtOnce(
		func() error { return fn(0, hours{span.from, middle}) },
		func() error { return fn(1, hours{middle, span.to}) },
	)
}

// points sums the rows that the filter keeps, step by step.
func (h *handler) points(ctx context.Context, span hours, step int64, keep filter) ([]point, Figures, error) {
	var halves [2]pointSums
	cover := coverageOf(h.Rows, h.Now())
	err := halved(span, step, func(n int, half hours) error {
		p := &halves[n]
		p.span, p.step, p.at, p.cover = half, step, half.from, cover
		err := h.rowsOf(ctx, half, func(n name) bool { return keep.keeps(n) }, p.add)
		if err != nil {
			return err
		}
		return p.flush(half.to)
	})
	if err == nil {
		err = halves[0].totals.Merge(&halves[1].totals)
	}
	points, totals := append(halves[0].points, halves[1].points...), figuresOf(&halves[0].totals, cover.seconds(span))
	if err == nil && keep.everything() {
		err = addDrops(ctx, h.Rows, span, func(int64) *Figures { return &totals })
	}
	if err == nil && len(totals.Dropped) > 0 {
		err = addDrops(ctx, h.Rows, span, func(hour int64) *Figures { return &points[(hour-span.from)/step].Figures })
	}
	return points, totals, err
}

// pointSums adds rows up, step by step. The rows come hour by hour.
type pointSums struct {
	span        hours
	cover       coverage
	step        int64
	at          int64 // start of the step being summed
	sum, totals stats.Row
	points      []point
}

func (p *pointSums) add(k stats.Key, row *stats.Row) error {
	if start := k.Hour - (k.Hour-p.span.from)%p.step; start > p.at {
		if err := p.flush(start); err != nil {
			return err
		}
	}
	return p.sum.Merge(row)
}

// flush ends the steps before an hour.
func (p *pointSums) flush(until int64) error {
	if p.points == nil {
		p.points = make([]point, 0, (p.span.to-p.span.from+p.step-1)/p.step)
	}
	for p.at < until {
		end := min(p.at+p.step, p.span.to)
		p.points = append(p.points, point{hourTime(p.at), figuresOf(&p.sum, p.cover.seconds(hours{p.at, end}))})
		if err := p.totals.Merge(&p.sum); err != nil {
			return err
		}
		p.sum.Reset()
		p.at = end
	}
	return nil
}
