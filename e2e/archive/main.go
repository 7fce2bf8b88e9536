// Command archive makes the long proofs of the archive: on the real store, the real uploader and a real S3 server.
//
//	go run ./e2e/archive kill -kills 1000    kill -9 while archiving and cleaning; resumable, -dir keeps what was done
//	go run ./e2e/archive volume -events 10000000    bytes, speed and memory beside gzip -6
//	go run ./e2e/archive outage              the target is away for an hour's traffic
//	go run ./e2e/archive week                disk before and after retention over a simulated week
//	go run ./e2e/archive shutdown            SIGTERM with an open hour and 200,000 unarchived events
//	go run ./e2e/archive duckdb              DuckDB finds what wayside counted; npm install in e2e/duckdb first
//
// The outcome is appended to docs/evidence/archive.md together with the commit.
package main

import (
	"context"
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

// proof is one of the commands. It returns what it found on one line, and an error if that is not what it should be.
type proof struct {
	about string
	run   func(ctx context.Context, flags *flag.FlagSet, args []string) (string, error)
}

var proofs = map[string]proof{
	"kill":     {"kill -9 while archiving and cleaning", proveKill},
	"volume":   {"bytes, speed and memory", proveVolume},
	"outage":   {"the target away for an hour's traffic", proveOutage},
	"week":     {"disk over a simulated week", proveWeek},
	"shutdown": {"SIGTERM with 200,000 unarchived events", proveShutdown},
	"duckdb":   {"DuckDB finds what wayside counted", proveDuckDB},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		os.Exit(child(os.Args[2:]))
	}
	if len(os.Args) < 2 || proofs[os.Args[1]].run == nil {
		fmt.Fprintln(os.Stderr, "usage: go run ./e2e/archive PROOF [flags]; proofs are listed in e2e/archive/main.go")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	name := os.Args[1]
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	evidence := flags.String("evidence", "docs/evidence/archive.md", "file to append the outcome to; empty for none")
	began := time.Now()
	found, err := proofs[name].run(ctx, flags, os.Args[2:])
	verdict := "holds"
	if err != nil {
		verdict = "FAILS: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	text := fmt.Sprintf("- %s · `%s` · **%s**: %s (%s) → %s", time.Now().UTC().Format("2006-01-02 15:04"), commit(), name, found,
		time.Since(began).Round(100*time.Millisecond), verdict)
	fmt.Println(text)
	if err == nil && *evidence != "" {
		err = appendEvidence(*evidence, text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "archive:", err)
		os.Exit(1)
	}
}

const evidenceHead = `# Evidence: the archive

Appended by ` + "`go run ./e2e/archive`" + `, one line a run: time, commit (a "+" says that the work tree differed), proof, figures, how
long it took, verdict. What each proof does stands in the comments of e2e/archive.

`

func appendEvidence(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // documentation
		return err
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // documentation
	if err != nil {
		return err
	}
	if info, err := file.Stat(); err == nil && info.Size() == 0 {
		text = evidenceHead + text
	}
	_, err = fmt.Fprintln(file, text)
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return err
}

// commit names the code under test; a "+" says that the work tree differs from it in more than documentation.
func commit() string {
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
