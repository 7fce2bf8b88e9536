package collector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
)

func TestDrainAppliesAndAcknowledges(t *testing.T) {
	r := newRig(t, nil)
	drop := encode(&event.Event{TimeMicros: r.now.UnixMicro(), Kind: event.KindDrop, RequestBytes: 7, ErrorType: []byte("full")})
	r.source.add(r.epoch, r.request("/users/1", 200), r.request("/users/2", 500), drop)
	r.source.add(r.epoch, r.request("/about", 200))

	d := r.drain(t)
	if d.Events != 4 || d.Responses != 3 || d.LastSeq != 4 || d.Batches != 1 || d.Idle() {
		t.Errorf("drained %+v", d)
	}
	want := map[string]uint64{"/users/{id}": 2, "/about": 1}
	if diff := cmp.Diff(want, r.rows(t)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if d := r.drain(t); !d.Idle() {
		t.Errorf("a second step drained %+v", d)
	}
	r.checkBooks(t, 3)
	if s := r.Status(); s.Applied != 3 || s.Batches != 1 || s.Paths.Rows != 2 {
		t.Errorf("status %+v", s)
	}
}

// TestNoOldBatchesInMemory: after a step, no item refers to a batch, even if later steps are smaller.
func TestNoOldBatchesInMemory(t *testing.T) {
	r := newRig(t, nil)
	for range 20 {
		r.source.add(r.epoch, r.request("/users/1", 200), r.request("/about", 200))
	}
	for {
		d := r.drain(t)
		if d.Idle() {
			return
		}
		items := r.items[:cap(r.items)]
		if len(items) == 0 {
			t.Fatal("no items")
		}
		for i := range items {
			if items[i].Record != nil || items[i].Event.Path != nil {
				t.Fatalf("item %d of %d refers to an old batch", i, len(items))
			}
		}
	}
}

// TestNewerEventsWait: events of an unknown version are not quarantined. Events before them are applied, and the next
// step gets the newer events again.
func TestNewerEventsWait(t *testing.T) {
	r := newRig(t, nil)
	r.source.add(r.epoch, r.request("/a", 200), r.request("/b", 404))
	r.source.add(r.epoch, r.request("/b", 200), r.request("/c", 200), r.request("/a", 200))
	version := func(v byte) {
		for seq, record := range r.source.epochs[0].batches[1].All() {
			if seq == 4 {
				record[0] = v
			}
		}
	}
	version(event.Version + 1)
	for i := range 2 {
		d, err := r.DrainOnce(t.Context())
		if !errors.Is(err, ErrSource) || !errors.Is(err, event.ErrVersion) || d.Quarantined != 0 || d.Events != 3*(1-i) {
			t.Fatalf("step %d: %+v, %v", i, d, err)
		}
	}
	if totals, err := r.store.Totals(); err != nil || totals.Applied != 3 || totals.Quarantined != 0 {
		t.Fatalf("%+v, %v", totals, err)
	}
	version(1) // as if this were the newer wayside
	if d := r.drain(t); d.Events != 2 || d.LastSeq != 5 {
		t.Fatalf("%+v", d)
	}
	r.checkBooks(t, 5)
}

// After a crash between Apply and Ack, this process or the next one gets the events again, and counts them once.
func TestReplayChangesNothing(t *testing.T) {
	r := newRig(t, nil)
	r.source.add(r.epoch, r.request("/a", 200), r.request("/b", 404))
	r.source.onAck = func() error { return errInjected }
	for range 3 {
		if _, err := r.DrainOnce(t.Context()); !errors.Is(err, ErrSource) || !errors.Is(err, errInjected) {
			t.Fatalf("got %v", err)
		}
		r.reopen(t, nil)
	}
	r.source.onAck = nil
	r.source.add(r.epoch, r.request("/c", 200))
	d := r.drain(t)
	if d.Skipped != 2 || d.Events != 1 || d.LastSeq != 3 {
		t.Errorf("drained %+v", d)
	}
	r.checkBooks(t, 3)
	if diff := cmp.Diff(map[string]uint64{"/a": 1, "/b": 1, "/c": 1}, r.rows(t)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// While the store is unavailable, nothing is quarantined and nothing is learned. The same batch is applied later.
func TestUnavailableStoreIsRetried(t *testing.T) {
	r := newRig(t, nil)
	r.source.add(r.epoch, r.request("/a", 200), r.malformed(), r.request("/b", 200))
	r.store.beforeApply = func(*store.Batch) error { return unavailable() }
	for range 2 * attemptsMax {
		if _, err := r.DrainOnce(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
	}
	if rows := r.o.Labeler.Usage().Rows; rows != 0 {
		t.Errorf("%d rows of batches that were not applied", rows)
	}
	r.store.beforeApply = nil
	if d := r.drain(t); d.Responses != 2 || d.Quarantined != 1 {
		t.Errorf("drained %+v", d)
	}
	r.checkBooks(t, 3)
}

// The store may fail after its transaction, when the batch is already in the books.
func TestFailureAfterApplyCountsOnce(t *testing.T) {
	for name, fail := range map[string]func(*store.Batch) error{
		"error": func(*store.Batch) error { return unavailable() },
		"panic": func(*store.Batch) error { panic("injected") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.source.add(r.epoch, r.request("/a", 200))
			r.store.afterApply = fail
			if d := r.drain(t); d.Responses != 1 || d.Quarantined != 0 {
				t.Errorf("drained %+v", d)
			}
			r.store.afterApply = nil
			r.reopen(t, nil)
			r.source.add(r.epoch, r.request("/a", 200), r.request("/b", 200))
			r.drain(t)
			r.checkBooks(t, 3)
		})
	}
}

func TestFailingEventsAreIsolated(t *testing.T) {
	tests := map[string]struct {
		records func(r *rig) [][]byte
		apply   func(*store.Batch) error
		want    Drained
	}{
		"malformed in the middle": {
			records: func(r *rig) [][]byte {
				return [][]byte{r.request("/a", 200), r.malformed(), r.malformed(), r.request("/b", 200)}
			},
			want: Drained{Responses: 2, Quarantined: 2, Batches: 2},
		},
		"malformed at both ends": {
			records: func(r *rig) [][]byte { return [][]byte{r.malformed(), r.request("/a", 200), r.malformed()} },
			want:    Drained{Responses: 1, Quarantined: 2, Batches: 1},
		},
		"nothing else": {
			records: func(r *rig) [][]byte { return [][]byte{r.malformed()} },
			want:    Drained{Quarantined: 1},
		},
		"panic of the store": {
			records: func(r *rig) [][]byte {
				var out [][]byte
				for i := range 9 {
					out = append(out, r.request(fmt.Sprintf("/%c", 'a'+i), 200))
				}
				return out
			},
			apply: func(b *store.Batch) error {
				for i := range b.Items {
					if string(b.Items[i].Event.Path) == "/f" {
						panic("injected")
					}
				}
				return nil
			},
			want: Drained{Responses: 8, Quarantined: 1, Batches: 3},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			records := test.records(r)
			r.source.add(r.epoch, records...)
			r.store.beforeApply = test.apply
			d := r.drain(t)
			got := Drained{Responses: d.Responses, Quarantined: d.Quarantined, Batches: d.Batches}
			if got != test.want || d.LastSeq != uint64(len(records)) {
				t.Errorf("got %+v, want %+v", d, test.want)
			}
			r.source.add(r.epoch, r.request("/after", 200))
			if d := r.drain(t); d.Responses != 1 {
				t.Errorf("draining did not continue: %+v", d)
			}
			r.checkBooks(t, uint64(len(records)+1))
			files, _ := filepath.Glob(filepath.Join(r.dir, "quarantine", "*.batch"))
			if len(files) == 0 {
				t.Fatal("nothing in quarantine")
			}
			kept := 0
			for _, file := range files {
				raw, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				b, err := event.ParseBatch(raw)
				if err != nil {
					t.Fatal(err)
				}
				kept += int(b.Records)
			}
			if kept != test.want.Quarantined {
				t.Errorf("quarantine holds %d records, want %d", kept, test.want.Quarantined)
			}
		})
	}
}

func TestBatchIsTriedThreeTimes(t *testing.T) {
	r := newRig(t, nil)
	r.source.add(r.epoch, r.request("/a", 200))
	failures := 0
	r.store.beforeApply = func(*store.Batch) error {
		if failures++; failures < attemptsMax {
			return errInjected
		}
		return nil
	}
	if d := r.drain(t); d.Responses != 1 || d.Quarantined != 0 || r.store.applies != attemptsMax {
		t.Errorf("drained %+v with %d attempts", d, r.store.applies)
	}
	r.checkBooks(t, 1)
}

func TestLargePeekNeedsSeveralTransactions(t *testing.T) {
	r := newRig(t, func(o *Options) { o.ApplyEventsMax = 10 })
	for range 5 {
		var records [][]byte
		for i := range 7 {
			records = append(records, r.request(fmt.Sprintf("/%d", i), 200))
		}
		r.source.add(r.epoch, records...)
	}
	if d := r.drain(t); d.Responses != 35 || d.Batches != 4 || d.LastSeq != 35 {
		t.Errorf("drained %+v", d)
	}
	r.checkBooks(t, 35)
}

// For any order of events, restarts and failures, the rows add up to the events, and the labels are the same as in an
// undisturbed run.
func TestRowsSumUpProperty(t *testing.T) {
	checks := 0
	rapid.Check(t, func(rt *rapid.T) {
		if checks++; checks > 12 {
			return // each case opens several stores
		}
		r, plain := newRig(t, nil), newRig(t, nil)
		count := uint64(0)
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			n := rapid.IntRange(1, 20).Draw(rt, "events")
			epoch := uuid.UUID{byte(rapid.IntRange(1, 2).Draw(rt, "epoch"))}
			var records [][]byte
			for range n {
				path := rapid.StringMatching(`/[a-z]{1,2}(/[0-9a-f]{1,9})?`).Draw(rt, "path")
				records = append(records, r.request(path, rapid.SampledFrom([]uint16{200, 404}).Draw(rt, "status")))
			}
			count += uint64(n)
			r.source.add(epoch, records...)
			plain.source.add(epoch, records...)
			plain.drain(t)
			switch rapid.IntRange(0, 3).Draw(rt, "trouble") {
			case 1:
				r.store.beforeApply = func(*store.Batch) error { return unavailable() }
			case 2:
				r.source.onAck = func() error { return errInjected }
			case 3:
				r.reopen(t, nil)
			}
			_, _ = r.DrainOnce(t.Context())
			r.store.beforeApply, r.source.onAck = nil, nil
			r.drain(t)
		}
		for d := r.drain(t); !d.Idle(); d = r.drain(t) {
			continue
		}
		r.checkBooks(t, count)
		if diff := cmp.Diff(plain.rows(t), r.rows(t)); diff != "" {
			rt.Fatalf("rows (-undisturbed +disturbed):\n%s", diff)
		}
		_, _ = r.store.Close(), plain.store.Close()
	})
}

func TestFinishedEpochsAreRetired(t *testing.T) {
	r := newRig(t, nil)
	r.source.add(r.epoch, r.request("/a", 200), r.request("/b", 200))
	other := uuid.UUID{0xbb}
	r.source.add(other, r.request("/c", 200))
	old := r.source.epoch(r.epoch)
	old.ledger.Closed = true
	old.ledger.Excluded, old.ledger.Dropped = 3, map[string]uint64{"full": 4}
	old.ledger.Responses += 7

	if err := r.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.source.epochs) != 1 || r.source.epochs[0].id != other {
		t.Errorf("%d epochs are left", len(r.source.epochs))
	}
	r.checkBooks(t, 10)
	a := r.accounting(t)
	if !a.Settled || a.Excluded != 3 || !maps.Equal(a.Dropped, map[string]uint64{"full": 4}) {
		t.Errorf("%+v", a)
	}
	r.reopen(t, nil)
	r.checkBooks(t, 10)
}

func TestDrainSaysWhatIsLeft(t *testing.T) {
	r := newRig(t, nil)
	r.source.add(r.epoch, r.request("/a", 200))
	ctx, cancel := context.WithCancel(t.Context())
	r.store.beforeApply = func(*store.Batch) error { cancel(); return unavailable() }
	if err := r.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	r.store.beforeApply = nil
	if err := r.Drain(t.Context()); err != nil {
		t.Errorf("got %v", err)
	}
	r.checkBooks(t, 1)
}

// TestSnapshotAfterDropsAlone: dropped responses are in the next snapshot, even if no response follows them.
func TestSnapshotAfterDropsAlone(t *testing.T) {
	r := newRig(t, nil)
	r.source.add(r.epoch, r.request("/a", 200))
	r.drain(t)
	r.publisher.refresh(t.Context(), r.through(), true)
	r.source.add(r.epoch, encode(&event.Event{TimeMicros: r.now.UnixMicro(), Kind: event.KindDrop, RequestBytes: 7, ErrorType: []byte("full")}))
	r.drain(t)
	r.now = r.now.Add(time.Second)
	r.publisher.refresh(t.Context(), r.through(), true)
	if doc, n := r.document(t); doc.Totals.Dropped["full"] != 7 {
		t.Errorf("%d snapshots, the last says %v dropped", n, doc.Totals.Dropped)
	}
}
