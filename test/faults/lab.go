package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"github.com/wayside-proxy/wayside/test/e2e"
)

// ErrSkipped is wrapped by the error of a fault that cannot be produced on this machine. It is never a pass.
var ErrSkipped = errors.New("SKIPPED")

// Lab is what all trials of a session share: binaries, the origin, a working directory.
type Lab struct {
	Dir   string    // working directory; removed by Close
	Say   io.Writer // progress, a line each; nil for none
	Keep  bool      // keep the directories of trials that failed
	Short bool      // the short form, for CI
	Only  string    // damage only the kinds of file whose pattern has this in it
	Jobs  int       // trials at a time; 0 means 1
	// Failures is how many trials of a piece may fail before it ends; 0 means 1. Whatever fails, the piece has failed.
	Failures int
	plain    string
	faults   string // built with the tag "faults"
	origin   string
	stop     func() // ends the origin

	mu     sync.Mutex // guards what follows
	trials int
	slots  []*slot // free ones
}

// NewLab builds the binaries below dir and starts the origin. Close ends it.
func NewLab(ctx context.Context, dir string, say io.Writer) (*Lab, error) {
	l := &Lab{Dir: dir, Say: say}
	var err error
	for _, b := range []struct {
		sub  string
		to   *string
		args []string
	}{{"bin", &l.plain, nil}, {"bin-faults", &l.faults, []string{"-tags", "faults"}}} {
		sub := filepath.Join(dir, b.sub)
		if err = os.MkdirAll(sub, 0o755); err != nil { //nolint:gosec // a working directory
			return nil, err
		}
		if *b.to, err = e2e.Build(ctx, sub, b.args...); err != nil {
			return nil, err
		}
	}
	if l.origin, l.stop, err = e2e.StartOrigin(); err != nil {
		return nil, err
	}
	return l, nil
}

// Close stops the origin. The trials' directories are removed by the trials.
func (l *Lab) Close() { l.stop() }

func (l *Lab) say(format string, args ...any) {
	if l.Say != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		_, _ = fmt.Fprintf(l.Say, format+"\n", args...)
	}
}

// trialDir makes a fresh working directory.
func (l *Lab) trialDir() (string, error) {
	l.mu.Lock()
	l.trials++
	n := l.trials
	l.mu.Unlock()
	dir := filepath.Join(l.Dir, fmt.Sprintf("trial-%04d", n))
	return dir, os.MkdirAll(dir, 0o755) //nolint:gosec // a working directory
}

// newRand is the source of every choice in a cycle: the same seed and cycle make the same choices.
func newRand(seed uint64, cycle int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(cycle))) //nolint:gosec // repeatable on purpose
}
