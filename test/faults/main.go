// Command faults breaks wayside deliberately, and proves that the books still add up.
//
//	go run ./test/faults                                   the short form of every fault
//	go run ./test/faults -faults kill,power-append -cycles 100 -seed 7
//	go run ./test/faults -list
//	go run ./test/faults -table                            the evidence for the current code
//
// A [Fault] is one way of breaking wayside: kill -9, a power cut, a full disk, a flipped bit. It is run in cycles. Each cycle is a
// [trial]: a data directory, the real binary, real traffic in which every request has a nonce, the fault, and a recovery. The checks at
// the end are always the same. Every response that a client received in full must be in the books, or be counted as dropped or
// quarantined; after a power cut, this applies to every response that was acknowledged as durable. The books must contain nothing that
// was not sent, and nothing twice. All identities of the accounting must hold.
//
// Proofs take a long time, so they can be made in pieces. A piece begins with the cycle after the last one in the evidence for the same
// code. Its result is appended to docs/evidence/faults.md together with a hash of the code under test ([CodeHash]). Pieces can be added
// up only if the hash is the same. The exit code is 1 if any check failed.
//
// The harness has its own servers and clients on loopback. If a fault requires root or a kernel feature that is missing, it
// is skipped, and the output says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

type options struct {
	names    string
	cycles   int
	first    int
	seed     uint64
	evidence string
	dir      string
	keep     bool
	list     bool
	table    bool
	jobs     int
	failures int
	update   string
	only     string
}

func main() {
	var o options
	flag.StringVar(&o.names, "faults", "", "faults to produce, separated by commas or spaces; empty: the short form of all, which is not recorded")
	flag.IntVar(&o.cycles, "cycles", 0, "cycles of each fault; 0: the usual number")
	flag.IntVar(&o.first, "first", -1, "number of the first cycle; -1: continue where the evidence for this code ends")
	flag.Uint64Var(&o.seed, "seed", 1, "decides when and where the faults strike")
	flag.StringVar(&o.evidence, "evidence", "docs/evidence/faults.md", "file to which results are appended")
	flag.StringVar(&o.dir, "dir", "", "working directory; empty: a temporary one")
	flag.BoolVar(&o.keep, "keep", false, "keep the directories of trials that failed")
	flag.BoolVar(&o.list, "list", false, "list the faults")
	flag.BoolVar(&o.table, "table", false, "print the evidence for this code as a table")
	flag.IntVar(&o.jobs, "jobs", 1, "number of trials that run at the same time, each with its own processes, ports and folders")
	flag.IntVar(&o.failures, "failures", 1, "number of failed trials after which the piece of a fault ends; one is enough for the piece to fail")
	flag.StringVar(&o.update, "update", "", "with -table: file in which the table between the markers is replaced")
	flag.StringVar(&o.only, "only", "", "damage only files whose pattern contains this text, such as ledger; nothing is recorded")
	flag.Parse()
	if o.only != "" {
		o.evidence = ""
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.list {
		for _, f := range All() {
			fmt.Printf("%-14s %5d cycles  %s\n", f.Name, f.Goal, f.About)
		}
		return nil
	}
	code, err := CodeHash()
	if err != nil {
		return err
	}
	if o.table {
		return errors.Join(printTable(o.evidence, code), UpdateTable(o.update, o.evidence, code))
	}
	chosen, short, err := choose(o.names)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "wayside-faults-")
	if err != nil {
		return err
	}
	if !o.keep {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	fmt.Println("code under test:", code, "working directory:", dir)
	lab, err := NewLab(ctx, dir, os.Stdout)
	if err != nil {
		return err
	}
	defer lab.Close()
	lab.Keep, lab.Short, lab.Jobs, lab.Failures, lab.Only = o.keep, short, o.jobs, o.failures, o.only
	var failed []error
	var pieces []Record
	for _, f := range chosen {
		p, err := o.piece(ctx, lab, f, code, short)
		if err != nil {
			failed = append(failed, err)
		}
		pieces = append(pieces, p.Record(code))
		if ctx.Err() != nil {
			break
		}
	}
	if short {
		Table(os.Stdout, pieces)
	} else if err := printTable(o.evidence, code); err != nil {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// piece runs a piece of a proof and records it.
func (o options) piece(ctx context.Context, lab *Lab, f Fault, code string, short bool) (*Piece, error) {
	cycles, first := o.cycles, o.first
	if short {
		cycles, first = f.Short, 0
	}
	if cycles == 0 {
		cycles = f.Usual
	}
	if first < 0 {
		records, err := ReadEvidence(o.evidence, code)
		if err != nil {
			return &Piece{Fault: f.Name}, err
		}
		first = Next(records, f.Name)
	}
	p := f.Run(ctx, lab, o.seed, first, cycles)
	fmt.Printf("%s: %d cycles in %v: %s\n", f.Name, p.Done, p.Took.Round(100*time.Millisecond), p.Result())
	skipped := errors.Is(p.Problem, ErrSkipped)
	if !short && o.evidence != "" && (p.Done > 0 || skipped) {
		if err := Append(o.evidence, code, p); err != nil {
			return p, err
		}
	}
	if p.Problem != nil && !skipped {
		return p, fmt.Errorf("%s: %w", f.Name, p.Problem)
	}
	return p, nil
}

// choose finds faults by name. A name that ends in * selects all faults with that prefix. Without names, it returns the short form of all
// faults.
func choose(names string) (chosen []Fault, short bool, err error) {
	fields := strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' })
	if len(fields) == 0 {
		for _, f := range All() {
			if f.Short > 0 {
				chosen = append(chosen, f)
			}
		}
		return chosen, true, nil
	}
	for _, name := range fields {
		found := false
		for _, f := range All() {
			prefix, isPrefix := strings.CutSuffix(name, "*")
			if f.Name == name || isPrefix && strings.HasPrefix(f.Name, prefix) {
				chosen, found = append(chosen, f), true
			}
		}
		if !found {
			return nil, false, fmt.Errorf("unknown fault %q: see -list", name)
		}
	}
	return chosen, false, nil
}

func printTable(evidence, code string) error {
	records, err := ReadEvidence(evidence, code)
	if err != nil {
		return err
	}
	fmt.Printf("\nEvidence for code %s:\n\n", code)
	Table(os.Stdout, records)
	return nil
}
