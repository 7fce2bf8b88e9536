package store

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// countingContext counts the calls of Err, and is canceled after a number of calls. It thus measures work without a
// clock.
type countingContext struct {
	context.Context
	asked    atomic.Int64
	leavesAt int64 // the call at which it is canceled; 0: never
}

func (c *countingContext) Err() error {
	if n := c.asked.Add(1); c.leavesAt > 0 && n >= c.leavesAt {
		return context.Canceled
	}
	return nil
}

// TestQueriesEndWithContext queries everything from 1970 to 9999. The work must grow with the data, not with the range,
// and must end when the context does.
func TestQueriesEndWithContext(t *testing.T) {
	const first, end = 0, 70_389_504 // hours from 1970-01-01 to 9999-12-31
	s := openStore(t, testOptions(t.TempDir()))
	held := int64(0)
	for i := range 40 { // days, each with a row in two hours
		g := newTraffic(uint64(i))
		g.epoch = uuid.UUID{byte(i + 1)}
		for hour := range 2 {
			g.now = testStart.Add(time.Duration(24*i+hour) * time.Hour).UnixMicro()
			b := g.batch(20)
			if hour == 1 { // a drop record
				e := event.Event{Kind: event.KindDrop, TimeMicros: g.now, ErrorType: []byte("full"), RequestBytes: 1}
				g.seq++
				b.Items = append(b.Items, Item{Seq: g.seq, Event: e})
				b.LastSeq = g.seq
			}
			if err := s.Apply(b); err != nil {
				t.Fatal(err)
			}
			held += int64(len(b.Items))
		}
	}
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if err := s.AddPlan(t.Context(), pendingPlan(t, s, "v1/"+uuid.NewString())); err != nil {
			t.Fatal(err)
		}
	}
	micros := EventScan{ToMicros: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).UnixMicro()}
	all := func(stats.Key) bool { return true }
	none := func(stats.Key, *stats.Row) error { return nil }
	for name, read := range map[string]func(context.Context) error{
		"Rows":   func(ctx context.Context) error { return s.Rows(ctx, first, end, none) },
		"Sums":   func(ctx context.Context) error { return s.Sums(ctx, first, end, none) },
		"RowsOf": func(ctx context.Context) error { return s.RowsOf(ctx, first, end, all, none) },
		"RowsOf one name": func(ctx context.Context) error {
			return s.RowsOf(ctx, first, end, func(k stats.Key) bool { return k.Label == "/" }, none)
		},
		"Drops":   func(ctx context.Context) error { return s.Drops(ctx, first, end, func(int64, string, uint64) {}) },
		"Plans":   func(ctx context.Context) error { return s.Plans(ctx, func(*catalogue.Plan) error { return nil }) },
		"Account": func(ctx context.Context) error { s.hourSums = nil; _, _, err := s.Account(ctx); return err },
		"ScanEvents": func(ctx context.Context) error {
			_, _, err := s.ScanEvents(ctx, micros, func(*StoredEvent) bool { return true })
			return err
		},
	} {
		whole := &countingContext{Context: t.Context()}
		if err := read(whole); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := whole.asked.Load(); n < 20 || n > 20*held {
			t.Errorf("%s took %d steps for %d events", name, n, held)
		}
		for _, at := range []int64{1, 2, whole.asked.Load() / 2} {
			ctx := &countingContext{Context: t.Context(), leavesAt: at}
			if err := read(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("%s went to its end although its context ended at step %d: %v", name, at, err)
			}
			if n := ctx.asked.Load(); n > at+2 { // two goroutines
				t.Errorf("%s went on for %d steps after its context ended", name, n-at)
			}
		}
	}
}
