package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

func TestApplyReplayChangesNothing(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	g := newTraffic(1)
	g.step = 1_000_000 // so that the events cross the end of an hour
	batches := []*Batch{g.batch(1500), g.batch(1), g.batch(2100)}
	batches[1].PathState = []StateChange{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b"), Value: []byte("2")}}
	for _, b := range batches {
		apply(t, s, b)
	}
	before, blocks := allRows(t, s), len(blockIDs(t, s))
	totals, _ := s.Totals()
	batches[1].PathState[0].Value = []byte("changed")
	for range 3 {
		for _, b := range batches {
			apply(t, s, b)
		}
		checkpoint(t, s)
	}
	// A batch that begins below the watermark is trimmed, not rejected.
	overlap := &Batch{Epoch: g.epoch, Items: batches[2].Items[2000:]}
	more := g.batch(10)
	overlap.Items = append(overlap.Items[:len(overlap.Items):len(overlap.Items)], more.Items...)
	overlap.LastSeq = more.LastSeq
	if diff := cmp.Diff(before, allRows(t, s)); diff != "" || len(blockIDs(t, s)) != blocks {
		t.Fatalf("a replay changed the rows: %s", diff)
	}
	apply(t, s, overlap)
	after, _ := s.Totals()
	if after.Applied != totals.Applied+10 || after.Applied != 3611 {
		t.Errorf("applied %d, before %d", after.Applied, totals.Applied)
	}
	state := map[string]string{}
	_ = s.PathState(func(k, v []byte) error { state[string(k)] = string(v); return nil })
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2"}, state); diff != "" {
		t.Error(diff)
	}
	apply(t, s, &Batch{Epoch: g.epoch, LastSeq: g.seq + 7, PathState: []StateChange{{Key: []byte("a")}}})
	if got := s.Watermarks()[g.epoch]; got != g.seq+7 {
		t.Errorf("watermark %d after a hole up to %d", got, g.seq+7)
	}
}

func TestApplyHourBoundaries(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	g := newTraffic(3)
	hour := testStart.Truncate(time.Hour).Add(time.Hour).UnixMicro()
	times := []int64{hour - 1, hour, hour - 2, hour + 1, hour + 3_600_000_000 - 1, hour + 3_600_000_000, -1, 0, -3_600_000_000}
	b := g.batch(len(times))
	for i := range b.Items {
		b.Items[i].Event.TimeMicros = times[i]
	}
	apply(t, s, b)
	got := map[int64]int{}
	for _, id := range blockIDs(t, s) {
		eachEvent(t, s, id, func(_ uint64, _ catalogue.RowName, e *event.Event) {
			if stats.HourOfMicros(e.TimeMicros) != id.Hour {
				t.Errorf("event at %d in block of hour %d", e.TimeMicros, id.Hour)
			}
			got[id.Hour]++
		})
	}
	h := hour / 3_600_000_000
	if diff := cmp.Diff(map[int64]int{h - 1: 2, h: 3, h + 1: 1, -1: 2, 0: 1}, got); diff != "" {
		t.Error(diff)
	}
}

func TestApplyLimits(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	g := newTraffic(4)
	tooMany := g.batch(MaxItems + 1)
	if err := s.Apply(tooMany); !errors.Is(err, ErrBatchTooLarge) {
		t.Errorf("%d items: %v", MaxItems+1, err)
	}
	tooMany.Items = tooMany.Items[:MaxItems]
	apply(t, s, tooMany)

	hours := g.batch(100)
	for i := range hours.Items {
		hours.Items[i].Event.TimeMicros += int64(i) * 3_600_000_000
	}
	if err := s.Apply(hours); !errors.Is(err, ErrBatchTooLarge) {
		t.Errorf("100 hours: %v", err)
	}
	noise := rand.New(rand.NewPCG(9, 9))
	big := g.batch(1000)
	for i := range big.Items {
		path := make([]byte, event.PathBytesMax)
		for j := range path {
			path[j] = byte(noise.Uint32())
		}
		big.Items[i].Event.Path, big.Items[i].Record = path, nil
	}
	if err := s.Apply(big); !errors.Is(err, ErrBatchTooLarge) {
		t.Errorf("2 MB of noise: %v", err)
	}
	// Half a megabyte of it fits.
	big.Items = big.Items[:250]
	apply(t, s, big)

	bad := g.batch(3)
	bad.Items[1].Seq = bad.Items[0].Seq
	if err := s.Apply(bad); !errors.Is(err, ErrInvalid) {
		t.Errorf("seq out of order: %v", err)
	}
	bad = g.batch(3)
	bad.LastSeq--
	if err := s.Apply(bad); !errors.Is(err, ErrInvalid) {
		t.Errorf("last seq below an item: %v", err)
	}
}

// TestBlockKeepsEveryField encodes unusual events in a block and expects exactly the same records back.
func TestBlockKeepsEveryField(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	long := bytes.Repeat([]byte("x"), event.PathBytesMax)
	odd := []event.Event{
		{Kind: event.KindRequest},
		{Kind: event.KindStream, TTFBMicros: 1 << 63, DurationMicros: 1, Path: long, TraceID: []byte("0123456789abcdef0123456789abcdef")},
		{Kind: event.KindDrop, RequestBytes: 1<<64 - 1, ErrorType: []byte("full")},
		{Kind: event.KindRequest, Status: 65535, TraceID: []byte("0123456789ABCDEF0123456789abcdef"), Method: []byte("BREW")},
		{Kind: event.KindRequest, TraceID: []byte("short"), Path: []byte("/a//b/"), Client: []byte("::1")},
		{Kind: event.KindRequest, TimeMicros: 99, Path: []byte("/a/{id}/b"), Host: []byte{0, 255, 0}},
		{Kind: event.KindRequest, TimeMicros: 1, Path: []byte("/a/1/b"), ResponseBytes: 1 << 40},
		{Kind: event.KindRequest, Path: []byte("/a/1/b/2")},
	}
	labels := []string{"", "/x", "", "(other)", "/a/{id}/b/", "/a/{id}/b", "/a/{id}/b", "/a/{id}/b"}
	b := &Batch{Epoch: testEpoch}
	var want [][]byte
	for i := range odd {
		record := make([]byte, odd[i].Size())
		odd[i].Encode(record)
		want = append(want, record)
		b.Items = append(b.Items, Item{Seq: uint64(10 + 3*i), Host: "h", Label: labels[i], Event: odd[i], Record: record})
	}
	b.LastSeq = 100
	apply(t, s, b)
	n := 0
	for _, id := range blockIDs(t, s) {
		eachEvent(t, s, id, func(seq uint64, k catalogue.RowName, e *event.Event) {
			got := make([]byte, e.Size())
			e.Encode(got)
			if !bytes.Equal(got, want[n]) || seq != uint64(10+3*n) || k.Label != labels[n] {
				t.Errorf("event %d came back as %+v under %+v, seq %d", n, e, k, seq)
			}
			n++
		})
	}
	if n != len(odd) {
		t.Errorf("%d events came back", n)
	}
	if totals, _ := s.Totals(); totals.Applied != uint64(len(odd)-1) {
		t.Errorf("applied %d: the drop record is not a response", totals.Applied)
	}
}

// TestAccountDuringApply applies, checkpoints and reads at the same time. At every reading, the rows must add up to the
// total.
func TestAccountDuringApply(t *testing.T) {
	o := testOptions(t.TempDir())
	o.LiveRowsMax = 5 // evict constantly
	s := openStore(t, o)
	g := newTraffic(5)
	g.step = 2_000_000
	done := make(chan struct{})
	var wg sync.WaitGroup
	for _, work := range []func(){
		func() {
			totals, aggregated, err := s.Account(context.Background())
			if err != nil || totals.Applied != aggregated {
				t.Errorf("applied %d, aggregated %d, %v", totals.Applied, aggregated, err)
			}
		},
		func() { checkpoint(t, s) },
		func() { _ = allRows(t, s) },
	} {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					work()
				}
			}
		})
	}
	for range 30 {
		apply(t, s, g.batch(100))
	}
	close(done)
	wg.Wait()
}

func TestQuarantineCountsOnce(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	g := newTraffic(6)
	apply(t, s, g.batch(10))
	for range 3 {
		if err := s.Quarantine(g.epoch, 15, 5, []byte("raw"), "cannot be decoded"); err != nil {
			t.Fatal(err)
		}
	}
	totals, _ := s.Totals()
	if totals.Quarantined != 5 || s.Watermarks()[g.epoch] != 15 {
		t.Errorf("%+v, watermarks %v", totals, s.Watermarks())
	}
	if err := s.Quarantine(g.epoch, 0, 7, nil, "lost with an older store"); err != nil {
		t.Fatal(err)
	}
	if totals, _ = s.Totals(); totals.Quarantined != 12 || s.Watermarks()[g.epoch] != 15 {
		t.Errorf("%+v, watermarks %v", totals, s.Watermarks())
	}
}

func TestLedgersAreBounded(t *testing.T) {
	o := testOptions(t.TempDir())
	o.LedgersMax = 3
	s := openStore(t, o)
	var want Ledger
	for i := range 8 {
		epoch := uuid.UUID{15: byte(i + 1)}
		apply(t, s, &Batch{Epoch: epoch, LastSeq: 1})
		l := Ledger{Epoch: epoch, Responses: uint64(i + 3), Recorded: uint64(i), Excluded: 1, Dropped: map[string]uint64{"full": 2}}
		want.add(&l)
		for range 2 {
			if err := s.SetLedger(l); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	var got Ledger
	for _, l := range s.Ledgers() {
		got.add(&l)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(s.Ledgers()) > 4 || len(s.Watermarks()) > 4 {
		t.Errorf("%d ledgers, %d watermarks: %s", len(s.Ledgers()), len(s.Watermarks()), diff)
	}
}

func TestCatalogue(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	ctx := context.Background()
	g := newTraffic(7)
	apply(t, s, g.batch(2500))
	apply(t, s, g.batch(300))
	if pending, err := s.Pending(ctx, testStart.AddDate(-1, 0, 0)); err != nil || len(pending) != 0 {
		t.Errorf("pending before anything was applied: %v, %v", pending, err)
	}
	p := pendingPlan(t, s, "v1/one.ndjson.gz")
	wrong := *p
	wrong.Rows--
	if err := s.AddPlan(ctx, &wrong); !errors.Is(err, ErrInvalid) {
		t.Errorf("a plan with wrong figures: %v", err)
	}
	if err := s.AddPlan(ctx, p); err != nil || p.ID != 1 {
		t.Fatal(p.ID, err)
	}
	if again := *p; !errors.Is(s.AddPlan(ctx, &again), ErrInvalid) {
		t.Error("blocks were planned twice")
	}
	lines, last := uint64(0), uint64(0)
	err := s.Events(ctx, p, func(seq uint64, row *catalogue.RowName, e *event.Event) error {
		if seq <= last || row.Label == "" || len(e.Path) == 0 {
			t.Errorf("seq %d after %d, label %q", seq, last, row.Label)
		}
		last = seq
		lines++
		return nil
	})
	if err != nil || lines != 2800 || p.Rows != 2800 {
		t.Errorf("%d lines of %d, %v", lines, p.Lines, err)
	}
	if err := s.DeleteBlocks(ctx, p); !errors.Is(err, ErrNotVerified) {
		t.Errorf("delete before verification: %v", err)
	}
	p.RawSHA256, p.Target = "aa", "file:///x"
	for range 2 {
		if err := s.MarkVerified(ctx, p); err != nil || p.State != catalogue.Verified {
			t.Fatal(p.State, err)
		}
	}
	if err := s.DeleteBlocks(ctx, p); !errors.Is(err, ErrNotCheckpointed) {
		t.Errorf("delete before the checkpoint: %v", err)
	}
	rows := allRows(t, s)
	checkpoint(t, s)
	for range 2 {
		if err := s.DeleteBlocks(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	if totals, _ := s.Totals(); totals != (Totals{Applied: 2800, Archived: 2800, Deleted: 2800}) || len(blockIDs(t, s)) != 0 {
		t.Errorf("%+v, %d blocks", totals, len(blockIDs(t, s)))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if diff := cmp.Diff(rows, allRows(t, s)); diff != "" {
		t.Errorf("rows changed by deleting events: %s", diff)
	}
	n := 0
	err = s.Plans(ctx, func(p *catalogue.Plan) error {
		n++
		if p.State != catalogue.Deleted || p.RawSHA256 != "aa" || len(p.Blocks) != 0 || len(p.Runs) != (2500+block.EventsMax-1)/block.EventsMax+1 {
			t.Errorf("%+v", p)
		}
		return nil
	})
	if err != nil || n != 1 {
		t.Error(n, err)
	}
}

func TestRowsRange(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	fillHours(t, s, 3, 20)
	checkpoint(t, s)
	g := newTraffic(8)
	g.epoch = uuid.UUID{1}
	apply(t, s, g.batch(50)) // live rows in addition to persisted ones
	hours := map[int64]int{}
	first := stats.HourOfMicros(testStart.UnixMicro())
	err := s.Rows(context.Background(), first, first+2, func(k stats.Key, _ *stats.Row) error { hours[k.Hour]++; return nil })
	if err != nil || len(hours) != 2 || hours[first] <= 20 || hours[first+1] != 20 {
		t.Error(hours, err)
	}
	stop := fmt.Errorf("enough")
	if err := s.Rows(context.Background(), first, first+9, func(stats.Key, *stats.Row) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// TestSizePerEvent: an event takes at most 40 bytes on disk, including everything.
func TestSizePerEvent(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	g := newTraffic(9)
	raw, n := 0, 100_000
	for done := 0; done < n; done += 4000 {
		b := g.batch(4000)
		for i := range b.Items {
			raw += len(b.Items[i].Record)
		}
		apply(t, s, b)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	lsm, vlog := s.Size()
	t.Logf("%d B an event as recorded, %.1f B on disk (value log %d B)", raw/n, float64(lsm+vlog)/float64(n), vlog)
	if (lsm+vlog)/int64(n) > 40 {
		t.Errorf("%d bytes for %d events", lsm+vlog, n)
	}
}
