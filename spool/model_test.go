package spool

import (
	"context"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// model is the expected content of a spool.
type model struct {
	t       *rapid.T
	o       Options
	s       *Set
	held    map[id]uint64        // appended but not acknowledged
	peeked  map[uuid.UUID]uint64 // last seq that Peek returned
	next    int
	counted map[uuid.UUID]uint64 // responses recorded
	exclude map[uuid.UUID]uint64
	aged    map[uuid.UUID]uint64 // expired responses
	now     time.Time
}

// TestModel runs a spool through random appends, commits, peeks, acknowledgments, restarts and kills, and compares it with a model.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "spool-model") //nolint:usetesting // each of rapid's cases needs its own
		if err != nil {
			rt.Fatal(err)
		}
		m := &model{
			t: rt, o: testOptions(dir), held: map[id]uint64{}, peeked: map[uuid.UUID]uint64{}, counted: map[uuid.UUID]uint64{},
			exclude: map[uuid.UUID]uint64{}, aged: map[uuid.UUID]uint64{}, now: time.Unix(1_790_000_000, 0),
		}
		m.o.AgeMax, m.o.Now = time.Hour, func() time.Time { return m.now }
		m.o.QueueBytesMax = 8 << 20
		m.open()
		defer func() {
			_ = m.s.Close()
			_ = os.RemoveAll(dir)
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"append": m.append, "flush": m.flush, "peek": m.peek, "ack": m.ack, "exclude": m.excludeOne,
			"close": m.close, "kill": m.kill, "retire": m.retire, "acks": m.commitAcks, "age": m.age, "": m.check,
		})
		m.drainAll()
	})
	t.Logf("model: %d steps", modelSteps.Load())
}

// modelSteps counts the operations in all cases, for the log of TestModel.
var modelSteps atomic.Uint64

func (m *model) open() {
	s, err := Open(m.o)
	if err != nil {
		m.t.Fatal(err)
	}
	m.s = s
}

func (m *model) append(t *rapid.T) {
	for range rapid.IntRange(1, 400).Draw(t, "n") {
		m.next++
		seq, r := m.s.TryAppend(sample(m.next))
		if r == RefusedFull {
			m.flush(t)
			seq, r = m.s.TryAppend(sample(m.next))
		}
		if r != Accepted {
			t.Fatalf("append: %s", r)
		}
		m.held[id{m.s.Epoch(), seq}] = uint64(m.next)
		m.counted[m.s.Epoch()]++
	}
}

func (m *model) excludeOne(*rapid.T) {
	m.s.Exclude()
	m.exclude[m.s.Epoch()]++
}

func (m *model) flush(t *rapid.T) {
	if err := m.s.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// peek compares the delivered events with the model: they must be the oldest ones, without gaps.
func (m *model) peek(t *rapid.T) {
	batches, err := m.s.Peek(context.Background(), PeekOptions{
		MaxBytes: rapid.IntRange(1, 100_000).Draw(t, "bytes"), MaxWait: time.Nanosecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	var want []id
	for key := range m.held {
		if len(batches) > 0 && key.epoch == batches[0].Epoch {
			want = append(want, key)
		}
	}
	slices.SortFunc(want, func(a, b id) int { return int(a.seq) - int(b.seq) })
	for _, b := range batches {
		for seq, record := range b.All() {
			var e event.Event
			if err := e.Decode(record); err != nil {
				t.Fatal(err)
			}
			if !e.IsResponse() {
				continue
			}
			for len(want) > 0 && want[0].seq < b.FirstSeq {
				t.Fatalf("event %v was passed over", want[0])
			}
			if len(want) > 0 && want[0].seq == seq {
				if m.held[want[0]] != e.RequestBytes {
					t.Fatalf("event %v holds %d", want[0], e.RequestBytes)
				}
				want = want[1:]
			} else if len(want) > 0 && want[0].seq < seq {
				t.Fatalf("event %v is missing", want[0])
			}
		}
		m.peeked[b.Epoch] = b.LastSeq
	}
}

func (m *model) ack(t *rapid.T) {
	epochs := slices.SortedFunc(maps.Keys(m.peeked), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	if len(epochs) == 0 {
		return
	}
	epoch := rapid.SampledFrom(epochs).Draw(t, "epoch")
	through := rapid.Uint64Range(1, m.peeked[epoch]).Draw(t, "through")
	if rapid.Bool().Draw(t, "all") {
		through = m.peeked[epoch]
	}
	if err := m.s.Ack(context.Background(), epoch, through); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(m.held, func(key id, _ uint64) bool { return key.epoch == epoch && key.seq <= through })
}

func (m *model) commitAcks(t *rapid.T) {
	if err := inStep(m.s, m.s.committer.commitAcks); err != nil {
		t.Fatal(err)
	}
}

func (m *model) close(t *rapid.T) {
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	m.open()
}

// age lets all unacknowledged batches expire, even those that were peeked.
func (m *model) age(t *rapid.T) {
	m.flush(t)
	m.now = m.now.Add(2 * time.Hour)
	if err := inStep(m.s, m.s.committer.expire); err != nil {
		t.Fatal(err)
	}
	for key := range m.held {
		m.aged[key.epoch]++
		m.counted[key.epoch]--
	}
	clear(m.held)
}

// kill commits the acknowledgments first. Otherwise events whose acknowledgments a kill undoes would be delivered again, which this model
// does not cover; TestKill does.
func (m *model) kill(t *rapid.T) {
	m.commitAcks(t)
	abandon(m.tb(), m.s)
	wantSound(m.tb(), m.s.o)
	m.open()
}

func (m *model) retire(t *rapid.T) {
	for _, l := range m.ledgers() {
		pending := false
		for key := range m.held {
			pending = pending || key.epoch == l.Epoch
		}
		if !l.Closed || pending || l.Spooled > 0 {
			continue
		}
		if m.s.Retire(context.Background(), l.Epoch) == nil {
			delete(m.peeked, l.Epoch)
			delete(m.counted, l.Epoch)
			delete(m.exclude, l.Epoch)
			delete(m.aged, l.Epoch)
		}
		return
	}
}

func (m *model) ledgers() []Ledger {
	ledgers, err := m.s.Ledgers(context.Background(), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return ledgers
}

func (m *model) check(t *rapid.T) {
	modelSteps.Add(1)
	held := make(map[uuid.UUID]uint64)
	for key := range m.held {
		held[key.epoch]++
	}
	seen := make(map[uuid.UUID]bool)
	for _, l := range m.ledgers() {
		seen[l.Epoch] = true
		if l.Recorded != m.counted[l.Epoch] || l.Spooled != held[l.Epoch] || l.Excluded != m.exclude[l.Epoch] {
			t.Fatalf("%s: recorded %d, held %d, excluded %d; ledger %+v", l.Epoch, m.counted[l.Epoch], held[l.Epoch],
				m.exclude[l.Epoch], l)
		}
		sum := l.Recorded + l.Excluded
		for _, n := range l.Dropped {
			sum += n
		}
		if l.Responses != sum || l.Dropped["age"] != m.aged[l.Epoch] {
			t.Fatalf("ledger %+v", l)
		}
	}
	for epoch := range held {
		if !seen[epoch] {
			t.Fatalf("epoch %s is gone with %d events", epoch, held[epoch])
		}
	}
}

func (m *model) drainAll() {
	if err := m.s.Flush(context.Background()); err != nil {
		m.t.Fatal(err)
	}
	got := make(map[id]event.Event)
	for {
		batches, err := m.s.Peek(context.Background(), PeekOptions{})
		if err != nil {
			m.t.Fatal(err)
		}
		if len(batches) == 0 {
			break
		}
		last := collect(m.tb(), batches, got)
		if err := m.s.Ack(context.Background(), batches[0].Epoch, last); err != nil {
			m.t.Fatal(err)
		}
	}
	for key, value := range m.held {
		if got[key].RequestBytes != value {
			m.t.Fatalf("event %v holds %d, want %d", key, got[key].RequestBytes, value)
		}
	}
}

// tb makes the helpers of the other tests usable in rapid tests.
func (m *model) tb() testing.TB { return rapidTB{TB: nil, t: m.t} }

type rapidTB struct {
	testing.TB // nil: only the methods overridden below may be called
	t          *rapid.T
}

func (r rapidTB) Helper()                      {}
func (r rapidTB) Fatal(args ...any)            { r.t.Fatal(args...) }
func (r rapidTB) Fatalf(f string, args ...any) { r.t.Fatalf(f, args...) }
