package spool

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// TestInterruptedRecovery: a process that dies after it has committed part of a dead process's journal leaves correct figures in the queue,
// even if a power cut removed the other copy of them, in the ledger page.
func TestInterruptedRecovery(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	for range 7 {
		s.Exclude()
	}
	s.current.counters.drop(RefusedFull, 5)
	s.responses.Add(5)
	appendN(t, s, 0, 10)
	mustFlush(t, s)
	appended := 10
	for ; s.journal.Load().Pending().Free > 0; appended += 50 {
		appendN(t, s, appended, 50)
	}
	epoch, dir := s.Epoch(), s.current.dir
	abandon(t, s)
	remove(t, dir, "ledger")
	between := 0
	for looks := range 6 {
		c := testOptions(t.TempDir())
		if err := os.CopyFS(c.Dir, os.DirFS(o.Dir)); err != nil {
			t.Fatal(err)
		}
		// The disk fails before a segment is committed, as if the process had died at that moment.
		disk := &faultyDisk{}
		cut, now := c, 0
		cut.OpenFile = disk.open
		cut.Now = func() time.Time {
			if now++; now == looks+2 { // the first call comes before the queue is open
				disk.breakQueue(t)
			}
			return time.Now()
		}
		abandon(t, openSet(t, cut))
		if err := queue.Inspect(filepath.Join(c.Dir, epoch.String()), 0, epoch, func(_ *queue.File, m *queue.State, _ []queue.Batch) {
			if m.LastSeq > 20 && m.LastSeq < uint64(appended) {
				between++
			}
		}); err != nil {
			t.Fatal(err)
		}
		next := openSet(t, c)
		l := checkLedgers(t, next)[0]
		if l.Epoch != epoch || l.Excluded != 7 || l.Dropped["full"] != 5 || l.Recorded != uint64(appended) || len(l.Dropped) != 1 {
			t.Errorf("failed at look %d: %+v, want %d recorded", looks, l, appended)
		}
	}
	if between == 0 {
		t.Error("no recovery was cut short between two segments")
	}
}
