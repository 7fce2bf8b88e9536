package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/event"
)

// faultyDisk opens files and can break them later by pointing their descriptors at /dev/null, where writes vanish and fdatasync fails.
type faultyDisk struct {
	mu     sync.Mutex
	files  []*os.File
	refuse error // if set, every attempt to open a file for writing fails with it
}

func (d *faultyDisk) open(name string, flag int, perm os.FileMode) (*os.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: d.refuse}
	}
	f, err := os.OpenFile(name, flag, perm)
	if err == nil && strings.Contains(name, "queue") {
		d.files = append(d.files, f)
	}
	return f, err
}

func (d *faultyDisk) set(refuse error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = refuse
}

// breakQueue makes the most recently opened queue file fail from now on.
func (d *faultyDisk) breakQueue(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	last := d.files[len(d.files)-1]
	if err := unix.Dup3(int(null.Fd()), int(last.Fd()), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}

// TestFailedSync: after a commit fails, its segment and the one held from the previous commit are written to a new file. The old file is
// drained first and then removed. Nothing is lost or delivered twice, in this process or the next.
func TestFailedSync(t *testing.T) {
	for _, restart := range []bool{false, true} {
		disk := &faultyDisk{}
		o := testOptions(t.TempDir())
		o.OpenFile = disk.open
		s := openSet(t, o)
		want := appendN(t, s, 0, 50)
		mustFlush(t, s)
		merge(want, appendN(t, s, 50, 50))
		mustFlush(t, s)
		disk.breakQueue(t)
		merge(want, appendN(t, s, 100, 50))
		mustFlush(t, s)
		if st := s.Status(); st.CommitErrors != 1 || st.Degraded != "" {
			t.Fatalf("status %+v", st)
		}
		merge(want, appendN(t, s, 150, 50))
		mustFlush(t, s)
		if restart {
			abandon(t, s)
			s = openSet(t, o)
		}
		first := filepath.Join(o.Dir, epochOf(want).String(), "queue.db")
		if _, err := os.Stat(first); err != nil {
			t.Fatal(err)
		}
		wantEvents(t, drain(t, s), want)
		if err := inStep(s, s.committer.commitAcks); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(first); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("drained file: %v", err)
		}
		if l := checkLedgers(t, s)[0]; l.Recorded != 200 || l.Spooled != 0 || len(l.Dropped) != 0 {
			t.Errorf("ledger %+v", l)
		}
	}
}

// TestNoNewQueueFile: as long as no file can be created, the journal keeps its records. Once a file can be created, all of them are committed.
func TestNoNewQueueFile(t *testing.T) {
	disk := &faultyDisk{}
	o := testOptions(t.TempDir())
	o.OpenFile = disk.open
	s := openSet(t, o)
	want := appendN(t, s, 0, 50)
	disk.breakQueue(t)
	disk.set(unix.EIO)
	if err := s.Flush(context.Background()); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("flush on a dead disk: %v", err)
	}
	merge(want, appendN(t, s, 50, 50))
	if st := s.Status(); st.Degraded == "" {
		t.Fatal("not degraded")
	}
	checkLedgers(t, s)
	disk.set(nil)
	if err := inStep(s, s.committer.reopen); err != nil {
		t.Fatal(err)
	}
	mustFlush(t, s)
	wantEvents(t, drain(t, s), want)
	if st := s.Status(); st.Degraded != "" {
		t.Fatalf("still degraded: %s", st.Degraded)
	}
}

// TestUnavailableThenOpened: without a disk, responses are counted in memory. Once a spool can be opened, its ledger and its drop records
// include these counts.
func TestUnavailableThenOpened(t *testing.T) {
	disk := &faultyDisk{refuse: unix.EROFS}
	o := testOptions(t.TempDir())
	o.OpenFile = disk.open
	s := openSet(t, o)
	for i := range 10 {
		if _, r := s.TryAppend(sample(i)); r != RefusedUnavailable {
			t.Fatalf("append without a disk: %s", r)
		}
	}
	if l := checkLedgers(t, s)[0]; l.Responses != 10 || l.Dropped["unavailable"] != 10 {
		t.Fatalf("ledger %+v", l)
	}
	disk.set(nil)
	if err := inStep(s, s.committer.reopen); err != nil {
		t.Fatal(err)
	}
	want := appendN(t, s, 0, 10)
	mustFlush(t, s)
	mustFlush(t, s)
	abandon(t, s)
	s = openSet(t, o)
	if l := checkLedgers(t, s)[0]; l.Responses != 20 || l.Recorded != 10 || l.Dropped["unavailable"] != 10 {
		t.Fatalf("recovered ledger %+v", l)
	}
	got, drops := split(drain(t, s))
	wantEvents(t, got, want)
	if len(drops) != 1 || string(drops[0].ErrorType) != "unavailable" || drops[0].RequestBytes != 10 {
		t.Fatalf("drop records %+v", drops)
	}
}

// TestFullQueue fills a queue of 1 MiB and then the journal, drains both, and finds room again, even with segments as large as the queue.
func TestFullQueue(t *testing.T) {
	for _, segment := range []int{64 << 10, 1 << 20} {
		t.Run(fmt.Sprintf("segments of %d", segment), func(t *testing.T) { fullQueue(t, segment) })
	}
}

func fullQueue(t *testing.T, segment int) {
	o := testOptions(t.TempDir())
	o.QueueBytesMax, o.SegmentBytes = QueueBytesMin, segment
	s := openSet(t, o)
	fillUp(t, s)
	size := s.Status().QueueBytes
	if size > QueueBytesMin {
		t.Fatalf("queue file of %d bytes", size)
	}
	before := checkLedgers(t, s)[0]
	if before.Dropped["full"] == 0 || before.Spooled != before.Recorded {
		t.Fatalf("ledger %+v", before)
	}
	got := drain(t, s)
	mustFlush(t, s)
	for len(got) > 0 { // the events that were stuck in the journal follow
		events, drops := split(got)
		if uint64(len(events)) > before.Recorded || len(drops) > 1 {
			t.Fatalf("%d events, %d drop records", len(events), len(drops))
		}
		before.Recorded -= uint64(len(events))
		got = drain(t, s)
		mustFlush(t, s)
	}
	if before.Recorded != 0 {
		t.Fatalf("%d recorded events did not arrive", before.Recorded)
	}
	want := appendN(t, s, 0, 10)
	mustFlush(t, s)
	wantEvents(t, drain(t, s), want)
}

func fillUp(t *testing.T, s *Set) {
	t.Helper()
	for i := range 1_000_000 {
		if _, r := s.TryAppend(sample(i)); r == RefusedFull {
			if err := s.Flush(context.Background()); err != nil {
				if !errors.Is(err, ErrQueueFull) {
					t.Fatal(err)
				}
				break
			}
		}
	}
	for i := range 1_000_000 {
		if _, r := s.TryAppend(sample(i)); r == RefusedFull {
			return
		}
	}
	t.Fatal("never full")
}

// TestFullDisk runs a Set on a tmpfs that is too small for each of three stages: opening, committing, recovering.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "1m")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 900<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	o := testOptions(dir)
	s := openSet(t, o)
	if _, r := s.TryAppend(sample(1)); r != RefusedUnavailable {
		t.Fatalf("append on a full disk: %s", r)
	}
	if err := os.Truncate(ballast, 400<<10); err != nil {
		t.Fatal(err)
	}
	if err := inStep(s, s.committer.reopen); err != nil {
		t.Fatal(err)
	}
	fillUp(t, s)
	l := checkLedgers(t, s)[0]
	if l.Recorded == 0 || l.Dropped["full"] == 0 || l.Dropped["unavailable"] != 1 || l.Dropped["fault"] != 0 {
		t.Fatalf("ledger %+v", l)
	}
	recorded := l.Recorded
	abandon(t, s)
	s = openSet(t, o) // there is no room to commit the journal's events: they are served from memory
	if l := checkLedgers(t, s)[0]; l.Recorded != recorded || l.Spooled != recorded {
		t.Fatalf("recovered ledger %+v, want %d recorded", l, recorded)
	}
	events, _ := split(drain(t, s))
	if uint64(len(events)) != recorded {
		t.Fatalf("%d of %d events arrived", len(events), recorded)
	}
	if err := s.Retire(context.Background(), l.Epoch); err != nil {
		t.Fatal(err)
	}
}

func split(all map[id]event.Event) (responses map[id]event.Event, drops []event.Event) {
	responses = make(map[id]event.Event)
	for key, e := range all {
		if e.IsResponse() {
			responses[key] = e
		} else {
			drops = append(drops, e)
		}
	}
	return responses, drops
}

// TestCutQueueFile truncates the queue file while it is mapped, so that every access by bbolt causes a SIGBUS. Events in the journal go to a
// new file, those that were only in the old file count as damaged, and nothing hangs.
func TestCutQueueFile(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	appendN(t, s, 0, 100)
	mustFlush(t, s)
	want := appendN(t, s, 100, 100)
	mustFlush(t, s)
	s.mu.Lock()
	for i := range s.current.index {
		s.cachedBytes -= len(s.current.index[i].cached)
		s.current.index[i].cached = nil
	}
	s.mu.Unlock()
	if err := os.Truncate(filepath.Join(s.current.dir, "queue.db"), 0); err != nil {
		t.Fatal(err)
	}
	merge(want, appendN(t, s, 200, 100))
	mustFlush(t, s)
	wantEvents(t, drain(t, s), want) // complete, because the segment of the last commit was still held
	if l := checkLedgers(t, s)[0]; l.Recorded != 200 || l.Dropped["damaged"] != 100 {
		t.Fatalf("ledger %+v", l)
	}
}

// TestReadOnlyDisk: a spool on a disk that has become read-only is still drained.
func TestReadOnlyDisk(t *testing.T) {
	dir := smallDisk(t, "4m")
	o := testOptions(dir)
	s := openSet(t, o)
	want := appendN(t, s, 0, 100)
	mustFlush(t, s)
	merge(want, appendN(t, s, 100, 100))
	abandon(t, s)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s = openSet(t, o)
	if st := s.Status(); st.Degraded == "" {
		t.Error("not degraded")
	}
	if l := checkLedgers(t, s)[0]; l.Recorded != 200 || l.Spooled != 200 {
		t.Fatalf("ledger %+v", l)
	}
	wantEvents(t, drain(t, s), want)
	if err := s.Retire(context.Background(), epochOf(want)); err == nil {
		t.Error("retired on a read-only disk")
	}
}

// TestSyncEachResponse: Record returns after the commit.
func TestSyncEachResponse(t *testing.T) {
	o := testOptions(t.TempDir())
	o.SyncEachResponse = true
	s := openSet(t, o)
	running(t, s)
	for i := range 20 {
		s.Record(sample(i))
		s.mu.Lock()
		committed := s.current.lastSeq
		s.mu.Unlock()
		if committed < uint64(i+1) {
			t.Fatalf("Record %d returned when %d were committed", i+1, committed)
		}
	}
}

// TestRecordAllocatesNothing checks the hot path of the whole Set, not only of the journal.
func TestRecordAllocatesNothing(t *testing.T) {
	o := testOptions(t.TempDir())
	o.SegmentBytes = 1 << 20
	s := openSet(t, o)
	e := sample(1)
	if n := testing.AllocsPerRun(1000, func() { s.Record(e) }); n != 0 {
		t.Errorf("Record allocates %v times", n)
	}
}
