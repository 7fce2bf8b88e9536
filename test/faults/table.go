package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// Table writes the evidence for one hash of the code, with one row per fault.
func Table(w io.Writer, records []Record) {
	_, _ = fmt.Fprintln(w, "| fault | cycles | planned | requests | lost | counted twice | failed requests | dropped, counted | longest recovery | result |")
	_, _ = fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|")
	for _, f := range All() {
		var sum Record
		result := notMade
		for _, r := range records {
			if r.Fault != f.Name {
				continue
			}
			sum.Cycles += r.Cycles
			sum.Requests += r.Requests
			sum.Lost += r.Lost
			sum.Doubled += r.Doubled
			sum.Failed += r.Failed
			sum.Dropped += r.Dropped + r.Quarantined
			sum.Recovery = max(sum.Recovery, r.Recovery)
			result = combine(result, r.Result)
		}
		if remark, ok := strings.CutPrefix(result, holds); ok && sum.Cycles < f.Goal {
			result = "holds so far" + remark
		}
		_, _ = fmt.Fprintf(w, "| %s: %s | %d | %d | %d | %d | %d | %d | %d | %d ms | %s |\n", f.Name, f.About, sum.Cycles, f.Goal,
			sum.Requests, sum.Lost, sum.Doubled, sum.Failed, sum.Dropped, sum.Recovery.Milliseconds(), result)
	}
}

const notMade = "not made"

// combine adds the result of the next piece of a fault to the results so far. The first failure is kept. The result is "skipped" only if
// all pieces were skipped.
func combine(before, next string) string {
	skipped := strings.HasPrefix(next, ErrSkipped.Error())
	if before == notMade || strings.HasPrefix(before, ErrSkipped.Error()) || strings.HasPrefix(before, holds) && !skipped {
		return next
	}
	return before
}

// The table in a document is between these two lines.
const (
	tableBegin = "<!-- faults: begin, written by go run ./test/faults -table -update FILE -->"
	tableEnd   = "<!-- faults: end -->"
)

// UpdateTable replaces the table between the markers of a document. It does nothing if name is empty.
func UpdateTable(name, evidence, code string) error {
	if name == "" {
		return nil
	}
	records, err := ReadEvidence(evidence, code)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	head, rest, begun := strings.Cut(string(text), tableBegin)
	_, tail, ended := strings.Cut(rest, tableEnd)
	if !begun || !ended {
		return fmt.Errorf("%s has no lines %q and %q", name, tableBegin, tableEnd)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s%s\nCode %s, as hashed by `go run ./test/faults`.\n\n", head, tableBegin, code)
	Table(&out, records)
	fmt.Fprintf(&out, "%s%s", tableEnd, tail)
	return os.WriteFile(name, out.Bytes(), 0o644)
}
