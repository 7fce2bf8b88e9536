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

// ageOptions are options with an age limit of an hour and a clock that only the test moves.
func ageOptions(t *testing.T) (o Options, pass func(time.Duration)) {
	t.Helper()
	o = testOptions(t.TempDir())
	var now atomic.Int64
	now.Store(1_790_000_000)
	o.AgeMax, o.Now = time.Hour, func() time.Time { return time.Unix(now.Load(), 0) }
	return o, func(d time.Duration) { now.Add(int64(d / time.Second)) }
}

func giveUp(t *testing.T, s *Set) {
	t.Helper()
	if err := inStep(s, s.committer.expire); err != nil {
		t.Fatal(err)
	}
}

// wantAged checks the account of one epoch: what was given up, what is still held, what was recorded.
func wantAged(t *testing.T, s *Set, i int, aged, spooled, recorded uint64) {
	t.Helper()
	l := checkLedgers(t, s)[i]
	if l.Dropped["age"] != aged || l.Spooled != spooled || l.Recorded != recorded || l.Dropped["damaged"] != 0 {
		t.Fatalf("want %d given up, %d held, %d recorded: %+v", aged, spooled, recorded, l)
	}
}

// toldOfAge are the figures that the drop records in the queue give, oldest first.
func toldOfAge(t *testing.T, s *Set) (told []uint64) {
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
				told = append(told, e.RequestBytes)
			}
		}
	}
	return told
}

// TestAgeGivesUp: what has waited too long is counted, and goes; what came later stays and is delivered; the stream says how
// many are missing; and a kill after it changes nothing.
func TestAgeGivesUp(t *testing.T) {
	o, pass := ageOptions(t)
	s := openSet(t, o)
	appendN(t, s, 0, 300)
	mustFlush(t, s)
	pass(50 * time.Minute)
	later := appendN(t, s, 300, 40)
	mustFlush(t, s)
	giveUp(t, s)
	wantAged(t, s, 0, 0, 340, 340)
	pass(20 * time.Minute)
	giveUp(t, s)
	wantAged(t, s, 0, 300, 40, 40)
	giveUp(t, s)
	mustFlush(t, s)
	if st := s.Status(); st.Expired != 300 || st.PendingEvents != 41 {
		t.Fatalf("status %+v", st)
	}
	abandon(t, s)
	s = openSet(t, o)
	wantAged(t, s, 0, 300, 40, 40)
	got := drain(t, s)
	told := uint64(0)
	for key, e := range got {
		if e.Kind == event.KindDrop && string(e.ErrorType) == "age" {
			told = e.RequestBytes
			delete(got, key)
		}
	}
	wantEvents(t, got, later)
	if told != 300 {
		t.Fatalf("the stream tells of %d given up, want 300", told)
	}
	wantAged(t, s, 0, 300, 0, 40)
}

// TestAgeOfEarlierProcesses: batches of a process that died have all of the time again, and then go like any other.
func TestAgeOfEarlierProcesses(t *testing.T) {
	o, pass := ageOptions(t)
	s := openSet(t, o)
	appendN(t, s, 0, 100)
	abandon(t, s)
	pass(90 * 24 * time.Hour) // nothing ran
	s = openSet(t, o)
	giveUp(t, s)
	wantAged(t, s, 0, 0, 100, 100)
	pass(2 * time.Hour)
	giveUp(t, s)
	wantAged(t, s, 0, 100, 0, 0)
	if told := toldOfAge(t, s); !slices.Equal(told, []uint64{100}) {
		t.Errorf("the stream tells of %d given up", told)
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

// TestAgeLeavesWhatIsHeld: what the consumer took a moment ago is not given up; and if it was, because the consumer took long,
// what it then says it has counts as recorded.
func TestAgeLeavesWhatIsHeld(t *testing.T) {
	o, pass := ageOptions(t)
	s := openSet(t, o)
	appendN(t, s, 0, 100)
	mustFlush(t, s)
	pass(2 * time.Hour)
	batches, err := s.Peek(context.Background(), PeekOptions{})
	if err != nil || len(batches) != 1 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	giveUp(t, s)
	wantAged(t, s, 0, 0, 100, 100)
	pass(2 * holdMax)
	giveUp(t, s)
	mustFlush(t, s)
	wantAged(t, s, 0, 100, 0, 0)
	// It had them after all.
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
	if got := toldOfAge(t, s); !slices.Equal(got, []uint64{100, 0}) { // the first record told too much, the second takes it back
		t.Fatalf("the stream tells of %d given up, want 100 and then 0", got)
	}
	abandon(t, s)
	s = openSet(t, o)
	wantAged(t, s, 0, 0, 0, 100)
}

// TestAgeOfPartOfABatch: what was acknowledged of a batch is not given up with the rest of it.
func TestAgeOfPartOfABatch(t *testing.T) {
	o, pass := ageOptions(t)
	s := openSet(t, o)
	appendN(t, s, 0, 100)
	mustFlush(t, s)
	if err := s.Ack(context.Background(), s.Epoch(), 30); err != nil {
		t.Fatal(err)
	}
	pass(2 * time.Hour)
	giveUp(t, s)
	wantAged(t, s, 0, 70, 0, 30)
	abandon(t, s)
	s = openSet(t, o)
	wantAged(t, s, 0, 70, 0, 30)
}

// TestAgeOverQueueFiles: batches in a file that is only read any more are given up in the next one, and stay so.
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
	mustFlush(t, s) // stays in the first file, as its segment is not held any more once the next is committed
	merge(kept, appendN(t, s, 220, 30))
	mustFlush(t, s)
	if err := inStep(s, func() error { return s.committer.replace(s.current, errScrubbing) }); err != nil {
		t.Fatal(err)
	}
	pass(40 * time.Minute)
	giveUp(t, s)
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

// TestAgeMakesRoom: a queue that is full takes events again once the oldest are given up.
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
		_ = s.Flush(context.Background()) // full sooner or later
	}
	pass(2 * time.Hour)
	giveUp(t, s)
	mustFlush(t, s)
	appendN(t, s, 0, 100)
	mustFlush(t, s)
	l := checkLedgers(t, s)[0]
	if l.Dropped["age"] == 0 || l.Dropped["age"]+l.Recorded != accepted+100 || l.Spooled != l.Recorded {
		t.Fatalf("accepted %d and 100, ledger %+v", accepted, l)
	}
}
