package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/accounting"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/spool"
)

// memSource is a spool in memory. Each method first calls its hook and returns the hook's error.
type memSource struct {
	mu        sync.Mutex
	epochs    []*memEpoch
	published map[string][][]byte
	peeks     int

	onPeek, onAck, onPublish func() error
}

type memEpoch struct {
	id      uuid.UUID
	next    uint64
	batches []event.Batch // batches that have not been acknowledged
	acked   uint64
	ledger  spool.Ledger
}

func (s *memSource) epoch(id uuid.UUID) *memEpoch {
	for _, e := range s.epochs {
		if e.id == id {
			return e
		}
	}
	e := &memEpoch{id: id, next: 1, ledger: spool.Ledger{Epoch: id}}
	s.epochs = append(s.epochs, e)
	return e
}

// add queues records as one batch.
func (s *memSource) add(id uuid.UUID, records ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.epoch(id)
	b := event.NewBatchBuilder(id)
	for _, record := range records {
		response := event.IsResponseRecord(record)
		if err := b.Add(e.next, record, response); err != nil {
			panic(err)
		}
		e.ledger.LastSeq = e.next
		e.next++
		if response {
			e.ledger.Recorded++
			e.ledger.Responses++
		}
	}
	batch, err := event.ParseBatch(slices.Clone(b.Bytes()))
	if err != nil {
		panic(err)
	}
	e.batches = append(e.batches, batch)
}

func (s *memSource) Peek(_ context.Context, o spool.PeekOptions) ([]event.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peeks++
	if s.onPeek != nil {
		if err := s.onPeek(); err != nil {
			return nil, err
		}
	}
	for _, e := range s.epochs {
		var out []event.Batch
		size := 0
		for _, b := range e.batches {
			if size += len(b.Bytes()); size > o.MaxBytes && len(out) > 0 {
				break
			}
			out = append(out, b)
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	return nil, nil
}

func (s *memSource) Ack(_ context.Context, id uuid.UUID, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onAck != nil {
		if err := s.onAck(); err != nil {
			return err
		}
	}
	e := s.epoch(id)
	e.acked = max(e.acked, seq)
	e.batches = slices.DeleteFunc(e.batches, func(b event.Batch) bool { return b.LastSeq <= seq })
	return nil
}

func (s *memSource) Ledgers(_ context.Context, applied map[uuid.UUID]uint64) ([]spool.Ledger, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []spool.Ledger
	for _, e := range s.epochs {
		l := e.ledger
		for _, b := range e.batches {
			for seq, record := range b.All() {
				if mark, seen := applied[e.id]; (!seen || seq > mark) && event.IsResponseRecord(record) {
					l.Spooled++
				}
			}
		}
		out = append(out, l)
	}
	return out, nil
}

func (s *memSource) Retire(_ context.Context, id uuid.UUID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.epoch(id); !e.ledger.Closed || len(e.batches) > 0 {
		return spool.ErrNotDrained
	}
	s.epochs = slices.DeleteFunc(s.epochs, func(e *memEpoch) bool { return e.id == id })
	return nil
}

func (s *memSource) Reconcile(_ context.Context, id uuid.UUID, seq, _ uint64) (uint64, error) {
	return 0, s.Ack(context.Background(), id, seq)
}

func (s *memSource) Publish(_ context.Context, topic string, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onPublish != nil {
		if err := s.onPublish(); err != nil {
			return err
		}
	}
	if s.published == nil {
		s.published = map[string][][]byte{}
	}
	s.published[topic] = append(s.published[topic], slices.Clone(body))
	return nil
}

func (s *memSource) Fetch(context.Context, string) ([]byte, error) { return nil, nil }

// hookedStore is a real store with hooks that can fail.
type hookedStore struct {
	*store.Store
	beforeApply func(*store.Batch) error
	afterApply  func(*store.Batch) error
	applies     int
}

func (s *hookedStore) Apply(b *store.Batch) error {
	s.applies++
	if s.beforeApply != nil {
		if err := s.beforeApply(b); err != nil {
			return err
		}
	}
	if err := s.Store.Apply(b); err != nil {
		return err
	}
	if s.afterApply != nil {
		return s.afterApply(b)
	}
	return nil
}

// rig is a collector on a real store with a source in memory.
type rig struct {
	*Collector
	source *memSource
	store  *hookedStore
	dir    string
	now    time.Time
	epoch  uuid.UUID
}

var testStart = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

func newRig(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	r := &rig{source: &memSource{}, dir: t.TempDir(), now: testStart, epoch: uuid.UUID{0xaa, 15: 1}}
	r.open(t, change)
	t.Cleanup(func() { _ = r.store.Close() })
	return r
}

// open opens the store and starts a collector on it, as a new process would.
func (r *rig) open(t testing.TB, change func(*Options)) {
	t.Helper()
	opened, err := store.Open(store.Options{
		Dir: r.dir + "/store", QuarantineDir: r.dir + "/quarantine", ReserveBytes: -1, OpenFreeMin: -1,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.store = &hookedStore{Store: opened}
	labeler, err := paths.New(paths.Options{Max: 100})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Source: r.source, Store: r.store, Labeler: labeler, PeekWait: time.Millisecond,
		Now: func() time.Time { return r.now }, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	if r.Collector, err = New(o); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) reopen(t testing.TB, change func(*Options)) {
	t.Helper()
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	r.open(t, change)
}

// request returns an encoded event at the rig's time.
func (r *rig) request(path string, status uint16) []byte {
	return encode(&event.Event{
		TimeMicros: r.now.UnixMicro(), Kind: event.KindRequest, Status: status, DurationMicros: 1500, TTFBMicros: 1000,
		RequestBytes: 10, ResponseBytes: 100, Method: []byte("GET"), Host: []byte("example.com"), Path: []byte(path),
		Protocol: []byte("1.1"),
	})
}

func encode(e *event.Event) []byte {
	out := make([]byte, e.Size())
	e.Encode(out)
	return out
}

// malformed returns a record that the batch format accepts and the decoder rejects.
func (r *rig) malformed() []byte {
	record := r.request("/bad", 200)
	record[2] = 0xff // no such method
	return record
}

func (r *rig) drain(t testing.TB) Drained {
	t.Helper()
	d, err := r.DrainOnce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// rows sums the counts by label over all hours.
func (r *rig) rows(t testing.TB) map[string]uint64 {
	t.Helper()
	out := map[string]uint64{}
	err := r.store.Rows(t.Context(), 0, 1<<30, func(k stats.Key, row *stats.Row) error {
		out[k.Label] += row.Count
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// accounting joins the figures of the store and the spools, as the traffic process does.
func (r *rig) accounting(t testing.TB) accounting.Accounting {
	t.Helper()
	view, err := r.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	active, err := r.source.Ledgers(t.Context(), view.Applied)
	if err != nil {
		t.Fatal(err)
	}
	return accounting.Account(active, &view)
}

// checkBooks checks that the accounting adds up, and has the expected number of responses.
func (r *rig) checkBooks(t testing.TB, responses uint64) {
	t.Helper()
	a := r.accounting(t)
	if !a.Balanced || a.Responses != responses {
		t.Errorf("the books do not add up to %d: %+v", responses, a)
	}
	sum := uint64(0)
	for n := range maps.Values(r.rows(t)) {
		sum += n
	}
	if sum != a.Applied {
		t.Errorf("rows sum up to %d, applied %d", sum, a.Applied)
	}
}

var errInjected = errors.New("injected")

func unavailable() error { return fmt.Errorf("%w: %w", store.ErrUnavailable, errInjected) }
