package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Commit returns the commit of the code under test. A "+" at its end means that the work tree differs from the commit; changes in docs,
// which contains the evidence, are ignored. Outside a git checkout, Commit returns "unknown".
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

// EvidenceRow formats a row of a table of proofs: time, commit, subject, seed, duration, measurements, and whether the
// promise holds.
func EvidenceRow(subject string, seed uint64, began time.Time, measured string, failure error) string {
	verdict := "holds"
	if failure != nil {
		verdict = "FAILS: " + strings.ReplaceAll(failure.Error(), "\n", "; ")
	}
	return fmt.Sprintf("| %s | %s | %s | %d | %v | %s | %s |", time.Now().UTC().Format("2006-01-02 15:04"), Commit(), subject, seed,
		time.Since(began).Round(time.Second), measured, verdict)
}

// Proof is one of the proofs of a command. It adds its flags and parses args. It returns its figures on one line, and an error if the
// promise does not hold.
type Proof func(ctx context.Context, flags *flag.FlagSet, args []string) (string, error)

// RunProof runs a proof until it ends or the process receives a signal to stop. It prints the outcome, appends it to the file that
// -evidence names, and returns the exit code.
func RunProof(command, name string, prove Proof, evidence, head string, args []string) int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	file := flags.String("evidence", evidence, "file to which the outcome is appended; empty: none")
	began := time.Now()
	found, err := prove(ctx, flags, args)
	verdict := "holds"
	if err != nil {
		verdict = "FAILS: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	text := fmt.Sprintf("- %s · `%s` · **%s**: %s (%s) → %s", time.Now().UTC().Format("2006-01-02 15:04"), Commit(), name, found,
		time.Since(began).Round(100*time.Millisecond), verdict)
	fmt.Println(text)
	if err = errors.Join(err, AppendEvidence(*file, head, text)); err != nil {
		fmt.Fprintln(os.Stderr, command+":", err)
		return 1
	}
	return 0
}

// AppendEvidence appends a row to a file. A new file begins with head. If name is empty, nothing is written.
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
