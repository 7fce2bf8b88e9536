package spool

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// dropUnreported counts responses as TryAppend does when it refuses them because the journal is full.
func dropUnreported(s *Set, n uint64) {
	s.responses.Add(n)
	s.current.counters.drop(RefusedFull, n)
}

// wantReported drains a Set and checks its drop records. There must be exactly one for each reason.
func wantReported(t *testing.T, when string, s *Set, want map[string]uint64) {
	t.Helper()
	_, drops := split(drain(t, s))
	reported := map[string]uint64{}
	for _, d := range drops {
		reported[string(d.ErrorType)] = d.RequestBytes
	}
	if len(drops) != len(want) {
		t.Errorf("%s: %d drop records, want %v", when, len(drops), want)
	}
	for reason, n := range want {
		if got, ok := reported[reason]; !ok || got != n {
			t.Errorf("%s: reported %v, want %v", when, reported, want)
		}
	}
}

// TestReportedAgainAfterExpiry: expired batches may contain drop records. If a process dies right after the expiry, its queue does not claim
// that these drops have been reported, and the next process reports them again.
func TestReportedAgainAfterExpiry(t *testing.T) {
	for _, closed := range []bool{false, true} {
		o, pass := ageOptions(t)
		s := openSet(t, o)
		appendN(t, s, 0, 10)
		when := "of the process's own epoch"
		if !closed {
			dropUnreported(s, 5)
		}
		mustFlush(t, s)
		if closed {
			when = "of a dead process's epoch"
			dropUnreported(s, 5) // the next process reports them in a separate batch
			abandon(t, s)
			s = openSet(t, o)
		}
		e := s.epochs[0]
		if last := e.index[len(e.index)-1].Last; last != 11 || e.reported[RefusedFull] != 5 {
			t.Fatalf("%s: last seq %d, reported %v: the drops are in no record yet", when, last, e.reported)
		}
		pass(2 * time.Hour)
		if err := inStep(s, func() error { _, _, err := s.committer.expireSome(e); return err }); err != nil {
			t.Fatal(err)
		}
		wantAged(t, s, 0, 10, 0, 0)
		abandon(t, s)
		s = openSet(t, o)
		wantAged(t, s, 0, 10, 0, 0)
		wantReported(t, when, s, map[string]uint64{"full": 5, "age": 10})
	}
}

// losesFigures removes everything from an epoch except the counters in its ledger page: its events, and how far they were acknowledged.
func losesFigures(t *testing.T, dir string) {
	t.Helper()
	remove(t, dir, "queue*.db", "journal-*.seg")
	name := filepath.Join(dir, "ledger")
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	page[pageCommitted+32] ^= 1 // the checksum of the committed figures
	if err := os.WriteFile(name, page, 0o600); err != nil {
		t.Fatal(err)
	}
}

// unreportedEpoch leaves behind an epoch from which the consumer has 40 responses, up to seq 40. The spool only knows that 5 were dropped.
func unreportedEpoch(t *testing.T, o Options) uuid.UUID {
	t.Helper()
	s := openSet(t, o)
	appendN(t, s, 0, 40)
	mustFlush(t, s)
	dropUnreported(s, 5)
	epoch, dir := s.Epoch(), s.current.dir
	abandon(t, s)
	losesFigures(t, dir)
	return epoch
}

// TestReportedAgainBeyondReconciled: a spool that has lost its queue assigns seqs from 1 on to its drop records, but the consumer ignores
// events up to its watermark. Once Reconcile has passed that watermark, the drops are reported again after it, before the epoch is retired.
func TestReportedAgainBeyondReconciled(t *testing.T) {
	o := testOptions(t.TempDir())
	epoch := unreportedEpoch(t, o)
	s := openSet(t, o)
	if e := s.epochs[0]; e.id != epoch || e.lastSeq >= 40 || e.reported[RefusedFull] != 5 {
		t.Fatalf("reported %v up to seq %d: nothing to report again", e.reported, e.lastSeq)
	}
	wantReportedBeyond(t, s, epoch)
}

// wantReportedBeyond reconciles 40 responses up to seq 40. It checks that the drops are reported after that seq and that the epoch can then be
// retired.
func wantReportedBeyond(t *testing.T, s *Set, epoch uuid.UUID) {
	t.Helper()
	if missing, err := s.Reconcile(context.Background(), epoch, 40, 40); err != nil || missing != 0 {
		t.Fatalf("missing %d, %v", missing, err)
	}
	if err := s.Retire(context.Background(), epoch); !errors.Is(err, ErrNotDrained) {
		t.Errorf("retired before the drops were reported after the consumer's watermark: %v", err)
	}
	got := drain(t, s)
	reported := uint64(0)
	for key, e := range got {
		if key.seq <= 40 {
			t.Errorf("%v comes where the consumer has been", key)
		}
		if string(e.ErrorType) == "full" {
			reported += e.RequestBytes
		}
	}
	if reported != 5 {
		t.Errorf("%d reported as dropped beyond seq 40, want 5: %v", reported, got)
	}
	if l := checkLedgers(t, s)[0]; l.Epoch != epoch || l.Responses != 45 || l.Recorded != 40 || l.Dropped["full"] != 5 {
		t.Errorf("ledger %+v", l)
	}
	if err := s.Retire(context.Background(), epoch); err != nil {
		t.Error(err)
	}
}

// onMessage is a log handler that runs fn on the first line with the message.
type onMessage struct {
	slog.Handler
	message string
	fn      func()
}

func (h *onMessage) Enabled(context.Context, slog.Level) bool { return true }

func (h *onMessage) Handle(_ context.Context, r slog.Record) error {
	if fn := h.fn; fn != nil && r.Message == h.message {
		h.fn = nil
		fn()
	}
	return nil
}

// breakQueueOf makes every write to an epoch's most recently opened queue file fail until repaired is called.
func breakQueueOf(t *testing.T, d *faultyDisk, epoch uuid.UUID) (repaired func()) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	at := len(d.files) - 1
	for ; at >= 0; at-- {
		if strings.Contains(d.files[at].Name(), epoch.String()) {
			break
		}
	}
	if at < 0 {
		t.Fatal("no queue file of the epoch was opened")
	}
	fd := int(d.files[at].Fd())
	kept, err := unix.FcntlInt(d.files[at].Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	if err := unix.Dup3(int(null.Fd()), fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Dup3(kept, fd, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(kept)
	}
}

// TestReportedAgainBeyondReconciledMeanwhile: the same if Reconcile is called while the drop records are being written, with a seq higher than
// theirs. The consumer ignores these records, so the drops count as reported only by records after that seq.
func TestReportedAgainBeyondReconciledMeanwhile(t *testing.T) {
	o := testOptions(t.TempDir())
	epoch := unreportedEpoch(t, o)
	h := &onMessage{Handler: slog.DiscardHandler, message: "cannot write drop records to the queue; keeping them in memory"} // no queue is left
	o.Logger = slog.New(h)
	s := openSet(t, o)
	reconcile := func(seq uint64) {
		if missing, err := s.Reconcile(context.Background(), epoch, seq, seq); err != nil || missing != 0 {
			t.Errorf("missing %d, %v", missing, err)
		}
	}
	reconcile(1) // makes a figure that must be reported
	reconciled := false
	h.fn = func() {
		reconciled = true
		reconcile(40)
	}
	e := s.epochs[0]
	if err := inStep(s, func() error { s.committer.reportClosedDrops(e); return nil }); err != nil {
		t.Fatal(err)
	}
	if !reconciled {
		t.Fatal("Reconcile did not come between")
	}
	wantReportedBeyond(t, s, epoch)
}

// TestReportingFails: if a queue fails while the drops of a dead process are being reported, nothing more is written to it, so that it never
// claims that they were reported. The records are delivered from memory, once. If this process dies too, the next one finds the loss and
// reports it.
func TestReportingFails(t *testing.T) {
	for _, dies := range []bool{false, true} {
		disk := &faultyDisk{}
		o := testOptions(t.TempDir())
		o.OpenFile = disk.open
		s := openSet(t, o)
		for i := range 3 {
			appendN(t, s, 10*i, 10)
			mustFlush(t, s)
		}
		damageBatch(t, s, 0)
		epoch, dir := s.Epoch(), s.current.dir
		abandon(t, s)
		remove(t, dir, "journal-*.seg")
		s = openSet(t, o)
		e := s.epochs[0]
		wantHere(t, s, 20, 10)
		before := s.Status().CommitErrors
		repaired := breakQueueOf(t, disk, epoch)
		if err := s.Retire(context.Background(), epoch); !errors.Is(err, ErrNotDrained) {
			t.Errorf("retired with what waits: %v", err)
		}
		repaired()
		if n := s.Status().CommitErrors - before; n != 1 || e.writer() != nil {
			t.Errorf("%d commits failed, and the queue is still written: %v", n, e.writer() != nil)
		}
		if err := inStep(s, s.committer.commitAcks); err != nil { // it must not commit the figures without the drop records
			t.Fatal(err)
		}
		if dies {
			abandon(t, s)
			s = openSet(t, o)
			wantHere(t, s, 20, 10)
			if err := s.Retire(context.Background(), epoch); !errors.Is(err, ErrNotDrained) {
				t.Errorf("retired with what waits: %v", err)
			}
		}
		responses, drops := split(drain(t, s))
		if len(responses) != 20 || len(drops) != 1 || string(drops[0].ErrorType) != "damaged" || drops[0].RequestBytes != 10 {
			t.Errorf("dies %v: %d responses, drop records %+v", dies, len(responses), drops)
		}
		if l := checkLedgers(t, s)[0]; l.Epoch != epoch || l.Responses != 30 || l.Recorded != 20 || l.Dropped["damaged"] != 10 {
			t.Errorf("dies %v: ledger %+v", dies, l)
		}
		if err := s.Retire(context.Background(), epoch); err != nil {
			t.Errorf("dies %v: %v", dies, err)
		}
	}
}
