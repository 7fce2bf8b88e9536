package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func remarked(p *Piece) *Piece {
	p.Remark = "bounded"
	return p
}

// TestTable writes pieces to an evidence file and from there into a document. Every figure must arrive, and pieces for
// other code must not. A later success must not hide a failed piece, and a skipped piece must not hide one that was
// run.
func TestTable(t *testing.T) {
	evidence := filepath.Join(t.TempDir(), "evidence.md")
	piece := func(fault string, first, cycles int, problem error) *Piece {
		return &Piece{Fault: fault, Seed: 1, First: first, Done: cycles, Problem: problem, Sum: Outcome{
			Requests: 1000, Lost: 3, Doubled: 4, Failed: 5, Dropped: 6, Quarantined: 7, Recovery: 1500 * time.Millisecond,
		}}
	}
	for code, pieces := range map[string][]*Piece{
		"now":    {piece("kill", 0, 600, nil), piece("kill", 600, 400, nil), piece("disk", 0, 5, errors.New("no|thing\nheld")), piece("disk", 5, 50, nil)},
		"before": {piece("two", 0, 20, nil)},
		"other": {
			piece("oom-group", 0, 0, fmt.Errorf("%w: no cgroup", ErrSkipped)), piece("memory", 0, 20, nil),
			piece("memory", 0, 0, fmt.Errorf("%w: no cgroup", ErrSkipped)), remarked(piece("steady", 0, 12, nil)),
		},
	} {
		for _, p := range pieces {
			if err := Append(evidence, code, p); err != nil {
				t.Fatal(err)
			}
		}
	}
	document := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(document, []byte("before\n"+tableBegin+"\nold\n"+tableEnd+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := UpdateTable(document, evidence, "now"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"before\n<!--", " | 1000 | 1000 | 2000 | 6 | 8 | 10 | 26 | 1500 ms | holds |", "| 55 | 50 |", "FAILS: no/thing; held", "-->\nafter\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "\nold\n") || strings.Count(string(text), "not made") != len(All())-2 {
		t.Errorf("outdated text is still in\n%s", text)
	}
	records, err := ReadEvidence(evidence, "now")
	if err != nil || Next(records, "kill") != 1000 || Next(records, "two") != 0 {
		t.Errorf("kill continues at cycle %d, two at cycle %d (%v)", Next(records, "kill"), Next(records, "two"), err)
	}
	var out bytes.Buffer
	if records, err = ReadEvidence(evidence, "other"); err != nil {
		t.Fatal(err)
	}
	Table(&out, records)
	for _, want := range []string{" | SKIPPED: no cgroup |", "| 20 | 20 | 2000 | 6 | 8 | 10 | 26 | 1500 ms | holds |", "| 12 | 120 |", "| holds so far: bounded |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	out.Reset()
	Table(&out, nil)
	if n := strings.Count(out.String(), "not made"); n != len(All()) {
		t.Errorf("without evidence, %d faults are \"not made\", want all", n)
	}
}
