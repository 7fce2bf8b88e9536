package journal

import (
	"encoding/hex"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/wayside-proxy/wayside/internal/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sampleEvent() *event.Event {
	return &event.Event{
		TimeMicros: 1_790_000_000_000_000, Kind: event.KindRequest, Status: 200, DurationMicros: 1234, TTFBMicros: 1200,
		RequestBytes: 12, ResponseBytes: 256, Method: []byte("GET"), Host: []byte("shop.example.com"),
		Path: []byte("/api/v1/users/123456/orders"), Upstream: []byte("127.0.0.1:8080"), Protocol: []byte("1.1"),
		Client: []byte("192.0.2.0"),
	}
}

func open(tb testing.TB, segmentBytes, segments int) *Journal {
	tb.Helper()
	j, err := Create(Options{Dir: tb.TempDir(), Epoch: uuid.Must(uuid.NewV7()), SegmentBytes: segmentBytes, Segments: segments})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { j.Close(false) })
	return j
}

// recovered reads the folder as a later process would.
func recovered(tb testing.TB, j *Journal) (map[uint64]uint64, error) {
	tb.Helper()
	left, err := List(j.o.Dir, j.o.Epoch)
	out := make(map[uint64]uint64)
	for _, l := range left {
		if err := l.Scan(func(seq uint64, payload []byte) {
			var e event.Event
			if err := e.Decode(payload); err != nil {
				tb.Fatalf("record %d: %v", seq, err)
			}
			if _, twice := out[seq]; twice {
				tb.Fatalf("record %d twice", seq)
			}
			out[seq] = e.RequestBytes
		}); err != nil {
			tb.Fatal(err)
		}
	}
	return out, err
}

func appendAll(tb testing.TB, j *Journal, n int) map[uint64]uint64 {
	tb.Helper()
	out := make(map[uint64]uint64)
	for i := range n {
		e := sampleEvent()
		e.RequestBytes = uint64(i)
		seq, r := j.Append(e)
		if r != Appended {
			tb.Fatalf("append %d: result %d", i, r)
		}
		out[seq] = uint64(i)
	}
	return out
}

func TestAppendAllocatesNothing(t *testing.T) {
	j := open(t, 1<<20, 4)
	e := sampleEvent()
	if n := testing.AllocsPerRun(1000, func() {
		if _, r := j.Append(e); r != Appended {
			t.Fatalf("result %d", r)
		}
	}); n != 0 {
		t.Errorf("an append allocates %v times", n)
	}
}

func TestRecoveryFindsEverySegment(t *testing.T) {
	j := open(t, SegmentBytesMin, 4)
	want := appendAll(t, j, 1500) // about three segments
	got, err := recovered(t, j)
	if err != nil || !maps.Equal(got, want) {
		t.Fatalf("recovered %d of %d records, %v", len(got), len(want), err)
	}
}

func TestFullThenRecycled(t *testing.T) {
	j := open(t, SegmentBytesMin, 2)
	e := sampleEvent()
	n := uint64(0)
	for {
		if _, r := j.Append(e); r == Full {
			break
		}
		n++
	}
	sealed, _ := j.Sealed()
	if len(sealed) != 2 || j.LastSeq() != n {
		t.Fatalf("%d sealed segments, last seq %d of %d", len(sealed), j.LastSeq(), n)
	}
	for _, s := range sealed {
		s.Wait()
		if err := s.Scan(func(uint64, []byte) {}); err != nil {
			t.Fatal(err)
		}
		j.Recycle(s)
	}
	seq, r := j.Append(e)
	if r != Appended || seq != n+1 {
		t.Fatalf("after recycling: seq %d (want %d), result %d", seq, n+1, r)
	}
	got, err := recovered(t, j) // records of an old generation must not be taken for new ones
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := got[n+1]; !ok {
		t.Fatal("the record of the new generation is missing")
	}
}

func TestTooLargeAndClosed(t *testing.T) {
	j := open(t, SegmentBytesMin, 2)
	j.half = headerBytes + 64
	if _, r := j.Append(sampleEvent()); r != TooLarge {
		t.Errorf("large record: result %d", r)
	}
	j.Stop()
	j.half = uint64(j.o.SegmentBytes / 2)
	if _, r := j.Append(sampleEvent()); r != Closed {
		t.Errorf("after Stop: result %d", r)
	}
}

// TestConcurrentAppends runs appenders, a committer and a reader of the counts at the same time.
func TestConcurrentAppends(t *testing.T) {
	j := open(t, SegmentBytesMin, 4)
	const writers, each = 4, 5000
	got := make(map[uint64]uint64)
	commit := func() {
		segments, _ := j.Sealed()
		for _, s := range segments {
			s.Wait()
			n := uint64(0)
			err := s.Scan(func(seq uint64, payload []byte) {
				n++
				var e event.Event
				if err := e.Decode(payload); err != nil {
					t.Error(err)
				}
				if _, twice := got[seq]; twice {
					t.Errorf("seq %d twice", seq)
				}
				got[seq] = e.RequestBytes
			})
			if records, _ := s.Published(); err != nil || n != records {
				t.Errorf("scanned %d of %d records, %v", n, records, err)
			}
			j.Recycle(s)
		}
	}
	want := make([]map[uint64]uint64, writers)
	var wg sync.WaitGroup
	for w := range writers {
		want[w] = make(map[uint64]uint64)
		wg.Go(func() {
			for i := range each {
				e := sampleEvent()
				e.RequestBytes = uint64(w*each + i)
				if seq, r := j.Append(e); r == Appended {
					want[w][seq] = e.RequestBytes
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			j.Seal(false)
			commit()
		}
	}
	j.Stop()
	commit()
	all := make(map[uint64]uint64)
	for _, m := range want {
		maps.Copy(all, m)
	}
	if !maps.Equal(all, got) {
		t.Fatalf("%d records accepted, %d committed", len(all), len(got))
	}
	if last := slices.Max(slices.Collect(maps.Keys(all))); last != uint64(len(all)) {
		t.Errorf("last seq %d for %d records", last, len(all))
	}
}

// TestHoles leaves reservations without a record, as killed writers would.
func TestHoles(t *testing.T) {
	j := open(t, SegmentBytesMin, 2)
	want := appendAll(t, j, 3)
	s := j.active.Load()
	for range 2 {
		if _, _, ok := s.reserve(recordBytes(100)); !ok {
			t.Fatal("no room")
		}
		e := sampleEvent()
		e.RequestBytes = 99
		seq, r := j.Append(e)
		if r != Appended {
			t.Fatal(r)
		}
		want[seq] = 99
	}
	if got, err := recovered(t, j); err != nil || !maps.Equal(got, want) {
		t.Fatalf("recovered %v, want %v, %v", got, want, err)
	}
	s.done.Add(2) // so that the clean-up does not wait for these reservations
}

// TestFlippedBytes flips every byte of a header and of three records, one at a time. At most the record with the flipped byte may be missing,
// and every record that is found must be unchanged.
func TestFlippedBytes(t *testing.T) {
	j := open(t, SegmentBytesMin, 2)
	want := appendAll(t, j, 5)
	end := j.active.Load().offset()
	record := (end - headerBytes) / 5
	name := j.path(0)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at uint64, lossMax int) {
		t.Helper()
		damaged := slices.Clone(whole)
		damaged[at] ^= byte(1 + rand.IntN(255))
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := recovered(t, j)
		if err != nil || len(got) < len(want)-lossMax {
			t.Fatalf("byte %d flipped: %d of %d records, %v", at, len(got), len(want), err)
		}
		for seq, value := range got {
			if want[seq] != value {
				t.Fatalf("byte %d flipped: record %d holds %d, want %d", at, seq, value, want[seq])
			}
		}
	}
	for at := range uint64(headerUsed) {
		flip(at, 0)
		flip(headerCopyOffset+at, 0)
	}
	for at := uint64(headerBytes); at < headerBytes+3*record; at++ {
		flip(at, 1)
	}
}

func TestDamagedHeaders(t *testing.T) {
	j := open(t, SegmentBytesMin, 2)
	appendAll(t, j, 5)
	data, err := os.ReadFile(j.path(0))
	if err != nil {
		t.Fatal(err)
	}
	data[3] ^= 1
	data[headerCopyOffset+3] ^= 1
	if err := os.WriteFile(j.path(0), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := recovered(t, j); !errors.Is(err, ErrSegment) {
		t.Fatalf("both headers damaged: %v", err)
	}
	if left, err := List(j.o.Dir, uuid.New()); err == nil || len(left) != 0 {
		t.Fatalf("segment of another epoch: %v, %v", left, err)
	}
	if err := os.WriteFile(j.path(0), data[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := recovered(t, j); err == nil {
		t.Fatal("a segment cut short within its damaged header goes unnoticed")
	}
}

// TestFormat pins the header of a segment and the header of a record, which are part of the format on disk.
func TestFormat(t *testing.T) {
	s := &Segment{epoch: uuid.MustParse("018f0000-0000-7000-8000-000000000001"), data: make([]byte, SegmentBytesMin)}
	s.begin(7, 100)
	offset, index, _ := s.reserve(recordBytes(5))
	copy(s.data[offset+recordHeaderBytes:], "hello")
	s.publish(offset, 100+index, 5)
	for name, c := range map[string]struct{ got, want string }{
		"header A": {hex.EncodeToString(s.data[:headerUsed]), wantHeader},
		"header B": {hex.EncodeToString(s.data[headerCopyOffset : headerCopyOffset+headerUsed]), wantHeader},
		"record":   {hex.EncodeToString(s.data[offset : offset+recordBytes(5)]), wantRecord},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", name, c.got, c.want)
		}
	}
}

const (
	wantHeader = "57534a53454700000100000000000100018f0000000070008000000000000001" +
		"070000000000000064000000000000000000000000000000000000006efcf55d"
	wantRecord = "050000007968eea6640000000000000068656c6c6f000000"
)

// TestFault truncates a segment while it is mapped, so that access causes a SIGBUS.
func TestFault(t *testing.T) {
	j := open(t, SegmentBytesMin, 3)
	want := appendAll(t, j, 3)
	if err := os.Truncate(j.path(0), headerBytes); err != nil {
		t.Fatal(err)
	}
	if _, r := j.Append(sampleEvent()); r != Fault {
		t.Fatalf("append to a cut file: result %d", r)
	}
	if seq, r := j.Append(sampleEvent()); r != Appended || seq != uint64(len(want))+2 {
		t.Fatalf("append to the next segment: seq %d, result %d", seq, r)
	}
	segments, _ := j.Sealed()
	s := segments[0]
	s.Wait()
	if err := s.Scan(func(uint64, []byte) {}); err == nil {
		t.Error("reading the cut file gives no error")
	}
	j.Recycle(s)
	if j.Usable() != 2 || j.Faults() != 1 {
		t.Fatalf("%d usable segments, %d faults", j.Usable(), j.Faults())
	}
	if err := j.Repair(); err != nil || j.Usable() != 3 {
		t.Fatalf("repair: %v, %d usable segments", err, j.Usable())
	}
}

// FuzzRecovery recovers journals with arbitrary damage: recovery must not panic, and must not find a record that was not written.
func FuzzRecovery(f *testing.F) {
	epoch := uuid.Must(uuid.NewV7())
	f.Add([]byte{1}, uint16(headerBytes))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint16(headerBytes+16))
	f.Fuzz(func(t *testing.T, patch []byte, at uint16) {
		s := &Segment{epoch: epoch, data: make([]byte, SegmentBytesMin)}
		s.begin(7, 100)
		want := make(map[uint64]string)
		for i := range uint64(20) {
			e := sampleEvent()
			offset, index, _ := s.reserve(recordBytes(e.Size()))
			n := e.Encode(s.data[offset+recordHeaderBytes:])
			s.publish(offset, 100+index, n)
			want[100+i] = string(s.data[offset+recordHeaderBytes : offset+recordHeaderBytes+uint64(n)])
		}
		copy(s.data[min(int(at), len(s.data)):], patch)
		scan(s.data, s.seed, 100, func(seq uint64, payload []byte) {
			if want[seq] != string(payload) {
				t.Fatalf("record %d was never written", seq)
			}
		})
	})
}

func BenchmarkTryAppend(b *testing.B) {
	j := open(b, 1<<20, 8)
	e := sampleEvent()
	b.ReportAllocs()
	for b.Loop() {
		if _, r := j.Append(e); r == Full {
			segments, _ := j.Sealed()
			for _, s := range segments {
				j.Recycle(s)
			}
		}
	}
}
