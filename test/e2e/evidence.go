package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Commit names the code under test. A "+" means that the work tree differs from the commit, except in docs, where evidence
// is kept. Outside a git checkout it is "unknown".
func Commit() string {
	head, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(head))
	changed, err := exec.Command("git", "status", "--porcelain", "--", ".", ":!docs").Output()
	if err != nil || len(strings.TrimSpace(string(changed))) > 0 {
		return name + "+"
	}
	return name
}

// EvidenceRow is a row of a table of proofs: time, commit, subject, seed, duration, measurements, and whether the promise
// holds.
func EvidenceRow(subject string, seed uint64, began time.Time, measured string, failure error) string {
	verdict := "holds"
	if failure != nil {
		verdict = "FAILS: " + strings.ReplaceAll(failure.Error(), "\n", "; ")
	}
	return fmt.Sprintf("| %s | %s | %s | %d | %v | %s | %s |", time.Now().UTC().Format("2006-01-02 15:04"), Commit(), subject, seed,
		time.Since(began).Round(time.Second), measured, verdict)
}

// AppendEvidence appends a row to a file. If the file is new, it begins with head. If name is empty, nothing is written.
func AppendEvidence(name, head, row string) error {
	if name == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if info, err := file.Stat(); err == nil && info.Size() == 0 {
		row = head + row
	}
	_, err = fmt.Fprintln(file, row)
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return err
}
