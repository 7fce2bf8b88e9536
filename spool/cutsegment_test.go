package spool

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCutJournalSegment truncates the active segment while it is mapped. The append that faults is refused and counted as a fault, the lost
// records count as damaged, and there is a report, even if no response had been accepted before.
func TestCutJournalSegment(t *testing.T) {
	for _, before := range []int{0, 20} {
		o := testOptions(t.TempDir())
		s := openSet(t, o)
		appendN(t, s, 0, before)
		if err := os.Truncate(activeSegment(t, s), 0); err != nil {
			t.Fatal(err)
		}
		if _, refusal := s.TryAppend(sample(before)); refusal != RefusedFault {
			t.Fatalf("%d before: the append to the cut segment: refusal %v", before, refusal)
		}
		want := appendN(t, s, before+1, 30)
		mustFlush(t, s)
		got, _ := split(drain(t, s))
		wantEvents(t, got, want)
		dropped := checkLedgers(t, s)[0].Dropped
		if l := checkLedgers(t, s)[0]; l.Recorded != 30 || dropped["fault"] != 1 || dropped["damaged"] != uint64(before) {
			t.Errorf("%d before: ledger %+v", before, l)
		}
		reports, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*-loss.txt"))
		if len(reports) != 1 {
			t.Errorf("%d before: reports %v", before, reports)
		}
	}
}

// TestCutJournalSegmentAndKill tests the same with a process that dies before it notices the loss. The next process counts the loss, and adopts
// the first process's count of refused events.
func TestCutJournalSegmentAndKill(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	appendN(t, s, 0, 20)
	if err := os.Truncate(activeSegment(t, s), 0); err != nil {
		t.Fatal(err)
	}
	if _, refusal := s.TryAppend(sample(20)); refusal != RefusedFault {
		t.Fatalf("refusal %v", refusal)
	}
	dead := o
	dead.Dir = filepath.Join(t.TempDir(), "spool")
	if err := os.CopyFS(dead.Dir, os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	dead.QuarantineDir = filepath.Join(t.TempDir(), "quarantine")
	next := openSet(t, dead)
	if reports, _ := filepath.Glob(filepath.Join(dead.QuarantineDir, "*-loss.txt")); len(reports) != 1 {
		t.Errorf("reports %v", reports)
	}
	l := checkLedgers(t, next)[0]
	if l.Responses != 21 || l.Recorded != 0 || l.Dropped["fault"] != 1 || l.Dropped["damaged"] != 20 {
		t.Errorf("ledger %+v", l)
	}
}

// activeSegment returns the only segment of a new spool that has a header.
func activeSegment(t *testing.T, s *Set) (name string) {
	t.Helper()
	for _, n := range segmentsIn(t, s.current.dir) {
		data, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		if data[0] == 0 {
			continue
		}
		if name != "" {
			t.Fatalf("two segments in use: %s, %s", name, n)
		}
		name = n
	}
	return name
}

// TestRefusedAppendAndKill: no response was accepted before the segment was truncated, so that only the refused responses are missing. The
// next process reports them.
func TestRefusedAppendAndKill(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	want := appendN(t, s, 0, 20)
	mustFlush(t, s)
	for _, name := range segmentsIn(t, s.current.dir) {
		if err := os.Truncate(name, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, refusal := s.TryAppend(sample(20)); refusal != RefusedFault {
		t.Fatalf("refusal %v", refusal)
	}
	abandon(t, s)
	s = openSet(t, o)
	l := checkLedgers(t, s)[0]
	if l.Recorded != 20 || l.Dropped["fault"] != 1 || l.Dropped["damaged"] != 0 {
		t.Errorf("ledger %+v", l)
	}
	if reports, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*-loss.txt")); len(reports) != 1 {
		t.Errorf("reports %v", reports)
	}
	got, drops := split(drain(t, s))
	wantEvents(t, got, want)
	if len(drops) != 1 || string(drops[0].ErrorType) != "fault" {
		t.Errorf("drop records %+v", drops)
	}
}
