package spool

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// ageOptions returns options with an age limit of one hour and a clock that only the test moves.
func ageOptions(t *testing.T) (o Options, pass func(time.Duration)) {
	t.Helper()
	o = testOptions(t.TempDir())
	var now atomic.Int64
	now.Store(1_790_000_000)
	o.AgeMax, o.Now = time.Hour, func() time.Time { return time.Unix(now.Load(), 0) }
	return o, func(d time.Duration) { now.Add(int64(d / time.Second)) }
}

func expireNow(t *testing.T, s *Set) {
	t.Helper()
	if err := inStep(s, s.committer.expire); err != nil {
		t.Fatal(err)
	}
}

// wantAged checks the ledger of one epoch: expired, held and recorded responses.
func wantAged(t *testing.T, s *Set, i int, aged, spooled, recorded uint64) {
	t.Helper()
	l := checkLedgers(t, s)[i]
	if l.Dropped["age"] != aged || l.Spooled != spooled || l.Recorded != recorded || l.Dropped["damaged"] != 0 {
		t.Fatalf("want %d expired, %d held, %d recorded: %+v", aged, spooled, recorded, l)
	}
}

// reportedAged returns the figures in the drop records of the queue, oldest first.
func reportedAged(t *testing.T, s *Set) (reported []uint64) {
	t.Helper()
	batches, err := s.Peek(context.Background(), PeekOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		for _, record := range b.All() {
			var e event.Event
			if err := e.Decode(record); err != nil {
				t.Fatal(err)
			}
			if e.Kind == event.KindDrop && string(e.ErrorType) == "age" {
				reported = append(reported, e.RequestBytes)
			}
		}
	}
	return reported
}

// TestExpiry: old batches are counted and removed, later ones are delivered, drop records report how many responses are missing, and a kill
// afterwards changes nothing.
func TestExpiry(t *testing.T) {
	o, pass := ageOptions(t)
	s := openSet(t, o)
	appendN(t, s, 0, 300)
	mustFlush(t, s)
	pass(50 * time.Minute)
	later := appendN(t, s, 300, 40)
	mustFlush(t, s)
	expireNow(t, s)
	wantAged(t, s, 0, 0, 340, 340)
	pass(20 * time.Minute)
	expireNow(t, s)
	wantAged(t, s, 0, 300, 40, 40)
	expireNow(t, s)
	mustFlush(t, s)
	if st := s.Status(); st.Expired != 300 || st.PendingEvents != 41 {
		t.Fatalf("status %+v", st)
	}
	abandon(t, s)
	s = openSet(t, o)
	wantAged(t, s, 0, 300, 40, 40)
	got := drain(t, s)
	reported := uint64(0)
	for key, e := range got {
		if e.Kind == event.KindDrop && string(e.ErrorType) == "age" {
			reported = e.RequestBytes
			delete(got, key)
		}
	}
	wantEvents(t, got, later)
	if reported != 300 {
		t.Fatalf("the stream reports %d expired, want 300", reported)
	}
	wantAged(t, s, 0, 300, 0, 40)
}

// TestAgeOfEarlierProcesses: the age of a dead process's batches starts again at zero; then they expire like any others.
func TestAgeOfEarlierProcesses(t *testing.T) {
	o, pass := ageOptions(t)
	s := openSet(t, o)
	appendN(t, s, 0, 100)
	abandon(t, s)
	pass(90 * 24 * time.Hour) // no process is running
	s = openSet(t, o)
	expireNow(t, s)
	wantAged(t, s, 0, 0, 100, 100)
	pass(2 * time.Hour)
	expireNow(t, s)
	wantAged(t, s, 0, 100, 0, 0)
	if reported := reportedAged(t, s); !slices.Equal(reported, []uint64{100}) {
		t.Errorf("the stream reports %d expired", reported)
	}
	epoch := checkLedgers(t, s)[0].Epoch
	if err := s.Retire(context.Background(), epoch); !errors.Is(err, ErrNotDrained) {
		t.Errorf("retired before the stream was drained: %v", err)
	}
	drain(t, s)
	if err := s.Retire(context.Background(), epoch); err != nil {
		t.Fatal(err)
	}
}

// TestAgeSparesPeekedBatches: batches that the consumer took a moment ago do not expire. If they do expire because the consumer is slow, and
// it turns out to have them, they count as recorded again.
func TestAgeSparesPeekedBatches(t *testing.T) {
	o, pass := ageOptions(t)
	s := openSet(t, o)
	appendN(t, s, 0, 100)
	mustFlush(t, s)
	pass(2 * time.Hour)
	batches, err := s.Peek(context.Background(), PeekOptions{})
	if err != nil || len(batches) != 1 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	expireNow(t, s)
	wantAged(t, s, 0, 0, 100, 100)
	pass(2 * holdMax)
	expireNow(t, s)
	mustFlush(t, s)
	wantAged(t, s, 0, 100, 0, 0)
	// The consumer has them after all.
	if err := s.Ack(context.Background(), s.Epoch(), batches[0].LastSeq); err != nil {
		t.Fatal(err)
	}
	if missing, err := s.Reconcile(context.Background(), s.Epoch(), batches[0].LastSeq, 100); err != nil || missing != 0 {
		t.Fatalf("%d missing, %v", missing, err)
	}
	wantAged(t, s, 0, 0, 0, 100)
	if err := inStep(s, s.committer.commitAcks); err != nil {
		t.Fatal(err)
	}
	mustFlush(t, s)
	if got := reportedAged(t, s); !slices.Equal(got, []uint64{100, 0}) { // the second record corrects the first
		t.Fatalf("the stream reports %d expired, want 100 and then 0", got)
	}
	abandon(t, s)
	s = openSet(t, o)
	wantAged(t, s, 0, 0, 0, 100)
}

// TestAgeOfPartOfABatch: when a batch expires, the part that was acknowledged does not count as expired.
func TestAgeOfPartOfABatch(t *testing.T) {
	o, pass := ageOptions(t)
	s := openSet(t, o)
	appendN(t, s, 0, 100)
	mustFlush(t, s)
	if err := s.Ack(context.Background(), s.Epoch(), 30); err != nil {
		t.Fatal(err)
	}
	pass(2 * time.Hour)
	expireNow(t, s)
	wantAged(t, s, 0, 70, 0, 30)
	abandon(t, s)
	s = openSet(t, o)
	wantAged(t, s, 0, 70, 0, 30)
}

// TestAgeOverQueueFiles: if batches in a retired file expire, that is recorded durably in the next file.
func TestAgeOverQueueFiles(t *testing.T) {
	o, pass := ageOptions(t)
	s := openSet(t, o)
	appendN(t, s, 0, 100)
	mustFlush(t, s)
	appendN(t, s, 100, 100)
	mustFlush(t, s)
	if err := s.Ack(context.Background(), s.Epoch(), 100); err != nil {
		t.Fatal(err)
	}
	pass(30 * time.Minute)
	kept := appendN(t, s, 200, 20)
	mustFlush(t, s) // stays in the first file: its segment is no longer held once the next one has been committed
	merge(kept, appendN(t, s, 220, 30))
	mustFlush(t, s)
	if err := inStep(s, func() error { return s.committer.replace(s.current, errScrubbing) }); err != nil {
		t.Fatal(err)
	}
	pass(40 * time.Minute)
	expireNow(t, s)
	wantAged(t, s, 0, 100, 50, 150)
	abandon(t, s)
	if n, err := Waiting(t.Context(), o.Dir, nil); err != nil || n != 50 {
		t.Fatalf("%d wait, %v", n, err)
	}
	wantSound(t, o)
	s = openSet(t, o)
	wantAged(t, s, 0, 100, 50, 150)
	got, drops := split(drain(t, s))
	wantEvents(t, got, kept)
	if len(drops) != 1 || drops[0].RequestBytes != 100 {
		t.Errorf("drop records %+v", drops)
	}
}

// TestAgeMakesRoom: a full queue accepts events again once the oldest have expired.
func TestAgeMakesRoom(t *testing.T) {
	o, pass := ageOptions(t)
	o.QueueBytesMax = QueueBytesMin
	s := openSet(t, o)
	accepted := uint64(0)
	for refused := false; !refused; {
		for i := range 200 {
			_, r := s.TryAppend(sample(i))
			if refused = r == RefusedFull; refused {
				break
			}
			accepted++
		}
		_ = s.Flush(context.Background()) // fails once the queue is full
	}
	pass(2 * time.Hour)
	expireNow(t, s)
	mustFlush(t, s)
	appendN(t, s, 0, 100)
	mustFlush(t, s)
	l := checkLedgers(t, s)[0]
	if l.Dropped["age"] == 0 || l.Dropped["age"]+l.Recorded != accepted+100 || l.Spooled != l.Recorded {
		t.Fatalf("accepted %d and 100, ledger %+v", accepted, l)
	}
}
