package spool

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/event"
)

func TestMain(m *testing.M) {
	if os.Getenv(writerEnv) != "" {
		writerMain()
		return
	}
	_ = flag.Set("rapid.checks", "30") // the command line can override this
	goleak.VerifyTestMain(m)
}

func testOptions(dir string) Options {
	return Options{
		Dir: filepath.Join(dir, "spool"), QuarantineDir: filepath.Join(dir, "quarantine"),
		SegmentBytes: 64 << 10, Segments: 4, CommitInterval: 5 * time.Millisecond, ReopenInterval: 10 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	}
}

func sample(i int) *event.Event {
	return &event.Event{
		TimeMicros: 1_790_000_000_000_000 + int64(i), Kind: event.KindRequest, Status: 200, DurationMicros: 1234, TTFBMicros: 1200,
		RequestBytes: uint64(i), ResponseBytes: 256, Method: []byte("GET"), Host: []byte("shop.example.com"),
		Path: []byte("/api/v1/users/123456/orders"), Upstream: []byte("127.0.0.1:8080"), Protocol: []byte("1.1"),
		Client: []byte("192.0.2.0"),
	}
}

// openSet opens a Set. At the end of the test, it checks the Set's promises and closes it.
func openSet(tb testing.TB, o Options) *Set {
	tb.Helper()
	s, err := Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if !s.closing.Load() {
			checkLedgers(tb, s)
		}
		_ = s.Close()
	})
	return s
}

// abandon ends a Set as a kill would: nothing is sealed or committed, and the locks are released.
func abandon(tb testing.TB, s *Set) {
	tb.Helper()
	s.sem <- struct{}{}
	defer s.release()
	s.closing.Store(true)
	if j := s.journal.Swap(nil); j != nil {
		j.Close(false)
	}
	s.current.counters.detach()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.epochs {
		if err := e.closeFiles(); err != nil {
			tb.Fatal(err)
		}
	}
}

func checkLedgers(tb testing.TB, s *Set) []Ledger {
	tb.Helper()
	ledgers, err := s.Ledgers(context.Background(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	for _, l := range ledgers {
		sum := l.Recorded + l.Excluded
		for _, n := range l.Dropped {
			sum += n
		}
		if sum != l.Responses || l.Spooled > l.Recorded {
			tb.Errorf("ledger does not add up: %+v", l)
		}
	}
	return ledgers
}

func mustFlush(tb testing.TB, s *Set) {
	tb.Helper()
	if err := s.Flush(context.Background()); err != nil {
		tb.Fatal(err)
	}
}

type id struct {
	epoch uuid.UUID
	seq   uint64
}

// drain peeks and acknowledges until nothing is pending, and returns the events by identity. It fails the test if an event is delivered twice
// or out of order.
func drain(tb testing.TB, src Source) map[id]event.Event {
	tb.Helper()
	out := make(map[id]event.Event)
	for {
		batches, err := src.Peek(context.Background(), PeekOptions{})
		if err != nil {
			tb.Fatal(err)
		}
		if len(batches) == 0 {
			return out
		}
		last := collect(tb, batches, out)
		if err := src.Ack(context.Background(), batches[0].Epoch, last); err != nil {
			tb.Fatal(err)
		}
	}
}

func collect(tb testing.TB, batches []event.Batch, out map[id]event.Event) (last uint64) {
	tb.Helper()
	for _, b := range batches {
		for seq, record := range b.All() {
			var e event.Event
			if err := e.Decode(record); err != nil {
				tb.Fatal(err)
			}
			key := id{b.Epoch, seq}
			if _, twice := out[key]; twice || seq <= last {
				tb.Fatalf("%v delivered twice or out of order (after %d)", key, last)
			}
			out[key] = e
			last = seq
		}
	}
	return last
}

func appendN(tb testing.TB, s *Set, from, n int) map[id]uint64 {
	tb.Helper()
	out := make(map[id]uint64)
	for i := from; i < from+n; i++ {
		seq, r := s.TryAppend(sample(i))
		if r != Accepted {
			tb.Fatalf("append %d: %s", i, r)
		}
		out[id{s.Epoch(), seq}] = uint64(i)
	}
	return out
}

func wantEvents(tb testing.TB, got map[id]event.Event, want map[id]uint64) {
	tb.Helper()
	for key, n := range want {
		e, ok := got[key]
		if !ok {
			tb.Fatalf("event %v is missing (%d of %d arrived)", key, len(got), len(want))
		}
		if e.RequestBytes != n {
			tb.Fatalf("event %v holds %d, want %d", key, e.RequestBytes, n)
		}
	}
	if len(got) != len(want) {
		tb.Fatalf("%d events arrived, want %d: %s", len(got), len(want), extra(got, want))
	}
}

func extra(got map[id]event.Event, want map[id]uint64) string {
	for key, e := range got {
		if _, ok := want[key]; !ok {
			return fmt.Sprintf("%v %+v", key, e)
		}
	}
	return ""
}

// running runs the committer until the end of the test.
func running(tb testing.TB, s *Set) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	tb.Cleanup(func() {
		cancel()
		<-done
	})
}

func fdConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socketpair")
	defer func() { _ = f.Close() }()
	return net.FileConn(f)
}

func merge(into, from map[id]uint64) {
	for k, v := range from {
		into[k] = v
	}
}

func epochOf(want map[id]uint64) uuid.UUID {
	for k := range want {
		return k.epoch
	}
	return uuid.Nil
}

// inStep runs fn while it holds the committer.
func inStep(s *Set, fn func() error) error {
	return s.step(context.Background(), func(*committer) error { return fn() })
}

// verifyDir returns the problems that VerifyDir finds.
func verifyDir(tb testing.TB, o Options, through map[uuid.UUID]uint64) (problems []string) {
	tb.Helper()
	checks, err := VerifyDir(context.Background(), o.Dir, through)
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range checks {
		problems = append(problems, c.Problems...)
	}
	return problems
}

// wantSound checks that verification finds no problem in the spools of dead processes.
func wantSound(tb testing.TB, o Options) {
	tb.Helper()
	for _, problem := range verifyDir(tb, o, nil) {
		tb.Errorf("verify: %s", problem)
	}
}

// smallDisk mounts a filesystem of the given size. If it cannot be mounted, the test is skipped.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("SKIPPED: %s needs the right to mount a tmpfs: %v", t.Name(), err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
