package store

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// modelSteps counts the operations of all cases; TestModel prints it.
var modelSteps atomic.Uint64

// storeModel is the expected content of a store, as maps.
type storeModel struct {
	t      *rapid.T
	o      Options
	s      *Store
	copies int
	now    int64
	last   map[uuid.UUID]Batch // the batch applied last; the model owns its items
	marks  map[uuid.UUID]uint64
	rows   map[stats.Key]uint64 // responses
	told   map[uuid.UUID]uint64 // responses dropped, according to the last drop record
	drops  map[int64]uint64     // by hour
	totals Totals
	plans  []*catalogue.Plan // created, but not verified
	sent   []*catalogue.Plan // verified, but their blocks are not deleted
}

var modelLabels = []string{"/", "/a/{id}", "/b", "(other)"}

// TestModel takes a store through batches, overlapping and repeated batches, checkpoints, plans, marks, deletions,
// losses, restarts and crashes. After each step it compares totals and watermarks with maps, and sometimes all rows.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "store-model") //nolint:usetesting // one for each of rapid's cases
		if err != nil {
			rt.Fatal(err)
		}
		m := &storeModel{
			t: rt, o: testOptions(dir), now: testStart.UnixMicro(), last: map[uuid.UUID]Batch{}, marks: map[uuid.UUID]uint64{},
			rows: map[stats.Key]uint64{}, told: map[uuid.UUID]uint64{}, drops: map[int64]uint64{},
		}
		m.o.LiveRowsMax = 8
		m.open()
		defer func() {
			_ = m.s.Close()
			_ = os.RemoveAll(dir)
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"apply": m.apply, "apply more": m.apply, "overlap": m.overlap, "again": m.again, "checkpoint": m.checkpoint, "plan": m.plan,
			"verify": m.verify, "delete": m.remove, "lose": m.lose, "restart": m.restart, "rows": m.compareRows, "": m.check,
		})
		m.compareRows(rt)
	})
	t.Logf("model: %d steps", modelSteps.Load())
}

func (m *storeModel) open() {
	s, err := Open(m.o)
	if err != nil {
		m.t.Fatal(err)
	}
	m.s = s
}

func modelEpoch(n int) uuid.UUID { return uuid.UUID{0: 1, 6: 0x70, 8: 0x80, 15: byte(n)} }

func (m *storeModel) items(t *rapid.T, from uint64) []Item {
	items := make([]Item, rapid.IntRange(1, 12).Draw(t, "items"))
	for i := range items {
		from += uint64(rapid.IntRange(1, 3).Draw(t, "gap"))
		m.now += rapid.Int64Range(1, 400_000_000).Draw(t, "pause")
		e := event.Event{
			TimeMicros: m.now, Kind: event.KindRequest, Status: 200, DurationMicros: 5, Method: []byte("GET"), Host: []byte("h"), Path: []byte("/x"),
		}
		if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
			e = event.Event{TimeMicros: m.now, Kind: event.KindDrop, ErrorType: []byte("full"), RequestBytes: from}
		}
		record := make([]byte, e.Size())
		e.Encode(record)
		items[i] = Item{
			Seq: from, Host: "h", Method: "GET", Label: rapid.SampledFrom(modelLabels).Draw(t, "label"),
			Route: rapid.SampledFrom([]string{"", "api"}).Draw(t, "route"), Event: e, Record: record,
		}
	}
	return items
}

func (m *storeModel) apply(t *rapid.T) {
	epoch := modelEpoch(rapid.IntRange(0, 2).Draw(t, "epoch"))
	m.put(Batch{Epoch: epoch, Items: m.items(t, m.marks[epoch])})
}

// overlap applies a batch whose beginning has already been applied.
func (m *storeModel) overlap(t *rapid.T) {
	epoch := modelEpoch(rapid.IntRange(0, 2).Draw(t, "epoch"))
	old := m.last[epoch].Items
	m.put(Batch{Epoch: epoch, Items: append(append([]Item(nil), old...), m.items(t, m.marks[epoch])...)})
}

// again applies the last batch again, which must change nothing.
func (m *storeModel) again(t *rapid.T) {
	if b, ok := m.last[modelEpoch(rapid.IntRange(0, 2).Draw(t, "epoch"))]; ok {
		m.put(b)
	}
}

func (m *storeModel) put(b Batch) {
	b.LastSeq = b.Items[len(b.Items)-1].Seq
	if err := m.s.Apply(&b); err != nil {
		m.t.Fatal(err)
	}
	for i := range b.Items {
		item := &b.Items[i]
		if item.Seq <= m.marks[b.Epoch] {
			continue
		}
		if !item.Event.IsResponse() {
			m.drops[item.Event.TimeMicros/3_600_000_000] += item.Event.RequestBytes - m.told[b.Epoch]
			m.told[b.Epoch] = item.Event.RequestBytes
		} else {
			m.totals.Applied++
			m.rows[stats.Key{Hour: item.Event.TimeMicros / 3_600_000_000, Host: "h", Method: "GET", Label: item.Label, Route: item.Route}]++
		}
	}
	m.marks[b.Epoch] = max(m.marks[b.Epoch], b.LastSeq)
	m.last[b.Epoch] = b
}

func (m *storeModel) checkpoint(t *rapid.T) {
	if err := m.s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
}

// plan creates a plan for the pending blocks of one hour and epoch.
func (m *storeModel) plan(t *rapid.T) {
	pending, err := m.s.Pending(context.Background(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if len(pending) == 0 {
		return
	}
	p := &catalogue.Plan{State: catalogue.Planned, Hour: pending[0].ID.Hour, Epoch: pending[0].Epoch, Key: "v1/" + uuid.NewString(), FormatVersion: 1}
	for i := range pending {
		if b := &pending[i]; b.ID.Hour == p.Hour && b.Epoch == p.Epoch {
			p.Blocks = append(p.Blocks, b.ID)
			p.Runs = append(p.Runs, b.Runs...)
			p.Rows += b.Rows
			p.Lines += b.Lines
			p.MaxTime = b.MaxTime
		}
	}
	if err := m.s.AddPlan(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	m.plans = append(m.plans, p)
}

func (m *storeModel) verify(t *rapid.T) {
	if len(m.plans) == 0 {
		return
	}
	p := m.plans[0]
	m.plans = m.plans[1:]
	p.VerifiedAt, p.RawSHA256, p.ObjectBytes = time.Now(), "x", 1
	if err := m.s.MarkVerified(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	m.totals.Archived += p.Rows
	m.sent = append(m.sent, p)
}

func (m *storeModel) remove(t *rapid.T) {
	if len(m.sent) == 0 {
		return
	}
	p := m.sent[0]
	m.sent = m.sent[1:]
	m.checkpoint(t) // otherwise the plan is rejected
	if err := m.s.DeleteBlocks(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	m.totals.Deleted += p.Rows
}

// lose counts responses that never reached the store.
func (m *storeModel) lose(t *rapid.T) {
	epoch := modelEpoch(rapid.IntRange(0, 2).Draw(t, "epoch"))
	seq, n := m.marks[epoch]+1, rapid.Uint64Range(1, 5).Draw(t, "lost")
	if err := m.s.Quarantine(epoch, seq, n, []byte("raw"), "model"); err != nil {
		t.Fatal(err)
	}
	m.marks[epoch] = seq
	m.totals.Quarantined += n
}

// restart closes the store and reopens it, or opens a copy of its folder as a crash would leave it. Mostly it does
// neither, because both take a thousand times as long as the other operations.
func (m *storeModel) restart(t *rapid.T) {
	how := rapid.IntRange(0, 59).Draw(t, "how")
	if how > 2 {
		return
	}
	if how > 0 {
		if err := m.s.Close(); err != nil {
			t.Fatal(err)
		}
		m.open()
		return
	}
	m.copies++
	from := filepath.Dir(m.o.Dir)
	to := filepath.Join(from, "again")
	if m.copies%2 == 0 {
		to = filepath.Dir(from)
	}
	_ = os.RemoveAll(filepath.Join(to, "store"))
	before := filesOf(m.o.Dir)
	if err := os.CopyFS(filepath.Join(to, "store"), os.DirFS(m.o.Dir)); err != nil || filesOf(m.o.Dir) != before {
		return // Badger wrote a table in the meantime, so the copy is not consistent
	}
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	m.o.Dir, m.o.QuarantineDir = filepath.Join(to, "store"), filepath.Join(to, "quarantine")
	m.open()
}

// filesOf lists the files in a folder with their sizes.
func filesOf(dir string) string {
	var out strings.Builder
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			fmt.Fprintln(&out, e.Name(), info.Size())
		}
	}
	return out.String()
}

func (m *storeModel) check(t *rapid.T) {
	modelSteps.Add(1)
	totals, err := m.s.Totals()
	if err != nil {
		t.Fatal(err)
	}
	if totals.Applied != m.totals.Applied || totals.Archived != m.totals.Archived || totals.Deleted != m.totals.Deleted ||
		totals.Quarantined != m.totals.Quarantined {
		t.Fatalf("totals %+v, want %+v", totals, m.totals)
	}
	marks := m.s.Watermarks()
	maps.DeleteFunc(marks, func(_ uuid.UUID, seq uint64) bool { return seq == 0 })
	if diff := cmp.Diff(m.marks, marks); diff != "" {
		t.Fatalf("watermarks: %s", diff)
	}
}

func (m *storeModel) compareRows(t *rapid.T) {
	got := map[stats.Key]uint64{}
	err := m.s.Rows(context.Background(), -1<<62, 1<<62, func(k stats.Key, r *stats.Row) error {
		if r.Count > 0 {
			got[stats.Key{Hour: k.Hour, Host: clone(k.Host), Method: clone(k.Method), Label: clone(k.Label), Route: clone(k.Route)}] += r.Count
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.rows, got); diff != "" {
		t.Fatalf("rows: %s", diff)
	}
	drops := map[int64]uint64{}
	err = m.s.Drops(context.Background(), -1<<62, 1<<62, func(hour int64, _ string, responses uint64) { drops[hour] += responses })
	if diff := cmp.Diff(m.drops, drops); err != nil || diff != "" {
		t.Fatalf("drops: %v %s", err, diff)
	}
}
