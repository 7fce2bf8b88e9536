package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// manyRows returns a batch of an epoch with two responses under each of n labels in one hour, and a drop record.
func manyRows(epoch uuid.UUID, n int) *Batch {
	b := &Batch{Epoch: epoch}
	for i := range 2*n + 1 {
		b.LastSeq++
		e := event.Event{TimeMicros: testStart.UnixMicro() + int64(i), Kind: event.KindRequest, Status: 200, DurationMicros: uint64(i), Method: []byte("GET")}
		it := Item{Seq: b.LastSeq, Host: "shop.example.com", Method: "GET", Label: fmt.Sprintf("/p%04d", i%n), Event: e}
		if i == 2*n {
			it = Item{Seq: b.LastSeq, Event: event.Event{TimeMicros: e.TimeMicros, Kind: event.KindDrop, ErrorType: []byte("full"), RequestBytes: 7}}
		}
		b.Items = append(b.Items, it)
	}
	return b
}

// objectOf returns the archive object of a batch from manyRows.
func objectOf(b *Batch) *Refill {
	hour := stats.HourOfMicros(testStart.UnixMicro())
	rows := map[stats.Key]*stats.Row{}
	for i := range b.Items {
		it := &b.Items[i]
		if !it.Event.IsResponse() {
			continue
		}
		key := stats.Key{Hour: hour, Host: it.Host, Method: it.Method, Label: it.Label, Route: it.Route}
		if rows[key] == nil {
			rows[key] = &stats.Row{}
		}
		rows[key].Add(&it.Event)
	}
	r := &Refill{Last: b.LastSeq, Plan: catalogue.Plan{Hour: hour, Epoch: b.Epoch, Key: "v1/" + b.Epoch.String(), FormatVersion: 1}}
	r.Keys = slices.SortedFunc(maps.Keys(rows), func(a, b stats.Key) int { return strings.Compare(a.Label, b.Label) })
	for _, k := range r.Keys {
		r.Rows = append(r.Rows, rows[k])
		r.Plan.Rows += rows[k].Count
	}
	r.Plan.Lines = r.Plan.Rows + 1
	r.Drops = map[int64]stats.Drops{hour: {"full": {Seq: b.LastSeq, Responses: 7}}}
	return r
}

// loseStore creates a store that counts a batch, stores its ledger, which has three more responses, and removes the
// store.
func loseStore(t *testing.T, o Options, lost *Batch) {
	t.Helper()
	s := openStore(t, o)
	apply(t, s, lost)
	responses := mustTotals(t, s).Applied
	ledger := Ledger{Epoch: lost.Epoch, Responses: responses + 3, Recorded: responses + 3}
	if err := errors.Join(s.SetLedger(ledger), s.Close(), os.RemoveAll(o.Dir)); err != nil {
		t.Fatal(err)
	}
}

// knownID gives an object its ID, if the catalogue has an entry for it.
func knownID(ctx context.Context, s *Store, r *Refill) error {
	return s.ImportedAfter(ctx, 0, func(p *catalogue.Plan) error { r.Plan.ID = p.ID; return nil })
}

// ending is a context that ends after n calls of Err.
type ending struct {
	context.Context
	n int
}

func (e *ending) Err() error {
	if e.n--; e.n < 0 {
		return context.Canceled
	}
	return nil
}

// TestInterruptedRefill: the rows of an object take many transactions, and rows with the same names are in memory,
// stored, or both. The refill is interrupted after each transaction, and the store is opened as a crash would leave it.
// In the end, each response must be counted once.
func TestInterruptedRefill(t *testing.T) {
	o := testOptions(t.TempDir())
	lost := manyRows(uuid.UUID{1}, 1300)
	object := objectOf(lost)
	responses := object.Plan.Rows
	loseStore(t, o, lost)
	s := openStore(t, o)
	own := manyRows(uuid.UUID{2}, 900)
	apply(t, s, own)
	checkpoint(t, s)
	apply(t, s, moreOf(own))
	want := allRows(t, s)
	for i, k := range object.Keys {
		var sum stats.Row
		if body := want[k]; body != "" {
			if err := sum.Decode([]byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		sum.Merge(object.Rows[i])
		body, _ := sum.AppendBinary(nil)
		want[k] = string(body)
	}
	before := mustTotals(t, s)
	if before.Quarantined != responses+3 || !s.RefillDue() {
		t.Fatalf("%+v, due %v", before, s.RefillDue())
	}
	for lives := 0; ; lives++ {
		ctx := &ending{t.Context(), 1}
		err := s.Refill(ctx, object)
		checkPromises(t, s)
		if now := mustTotals(t, s); now.Applied+now.Quarantined != before.Applied+before.Quarantined {
			t.Errorf("%+v, then %+v", before, now)
		}
		killed := testOptions(t.TempDir())
		copyTree(t, filepath.Dir(o.Dir), filepath.Dir(killed.Dir))
		if closeErr := s.Close(); closeErr != nil {
			t.Fatal(closeErr)
		}
		o = killed
		s = openStore(t, o)
		if err == nil {
			if lives < 2 {
				t.Errorf("the object took %d transactions", lives+1)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		// Now the catalogue knows the object.
		if err := knownID(t.Context(), s, object); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time changes nothing
		if err := s.Refill(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		checkpoint(t, s)
		totals := mustTotals(t, s)
		if totals.Applied != before.Applied+responses || totals.Quarantined != 3 || totals.Archived != responses || totals.Deleted != responses {
			t.Errorf("%+v", totals)
		}
		if diff := cmp.Diff(want, allRows(t, s)); diff != "" {
			t.Error(diff)
		}
		checkPromises(t, s)
	}
	if drops := dropsOf(t, s, -1<<62, 1<<62); drops[object.Plan.Hour]["full"] != 21 { // 7 for each epoch, and 7 more
		t.Errorf("drops %v", drops)
	}
	if mark := s.Marks()[lost.Epoch]; mark != (Mark{Seq: lost.LastSeq, Applied: responses, Quarantined: 3}) {
		t.Errorf("%+v", mark)
	}
	apply(t, s, lost) // in case a spool offers it after all
	if totals := mustTotals(t, s); totals.Applied != before.Applied+responses {
		t.Errorf("%+v", totals)
	}
	if err := s.EndRefill(); err != nil || s.RefillDue() {
		t.Errorf("%v, due %v", err, s.RefillDue())
	}
}

// moreOf returns a batch that follows another one and has the same rows.
func moreOf(b *Batch) *Batch {
	next := &Batch{Epoch: b.Epoch, LastSeq: 2 * b.LastSeq}
	for _, it := range b.Items {
		it.Seq += b.LastSeq
		if !it.Event.IsResponse() {
			it.Event.RequestBytes = 14
		}
		next.Items = append(next.Items, it)
	}
	return next
}

// TestRefillOfUnnamedEpochs: epochs that are only in the sum of the oldest ledgers come back, up to that sum. Epochs
// that the lost store never had do not.
func TestRefillOfUnnamedEpochs(t *testing.T) {
	o := ledgerOptions(t, 2)
	objects := map[byte]*Refill{}
	for n := range byte(5) {
		objects[n+1] = objectOf(manyRows(uuid.UUID{n + 1}, 20))
	}
	s := openStore(t, o)
	if _, ok := s.Refillable(uuid.UUID{1}); ok {
		t.Error("an epoch that nobody knows can be refilled")
	}
	for n := range byte(4) {
		apply(t, s, manyRows(uuid.UUID{n + 1}, 20))
		if err := s.SetLedger(Ledger{Epoch: uuid.UUID{n + 1}, Responses: 40, Recorded: 40}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Close(), os.RemoveAll(o.Dir)); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	for n := byte(1); n <= 4; n++ {
		if err := s.Refill(t.Context(), objects[n]); err != nil {
			t.Errorf("epoch %d: %v", n, err)
		}
		checkPromises(t, s)
	}
	if err := s.Refill(t.Context(), objects[5]); !errors.Is(err, ErrNotRefillable) {
		t.Errorf("an epoch that the lost store did not have: %v", err)
	}
	if totals := mustTotals(t, s); totals.Applied != 160 || totals.Quarantined != 0 {
		t.Errorf("%+v", totals)
	}
}
