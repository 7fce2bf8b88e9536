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
	"github.com/wayside-proxy/wayside/test/h2peer"
)

// ErrSkipped is wrapped by the error of a fault that this machine cannot produce. A skipped fault never counts as passed.
var ErrSkipped = errors.New("SKIPPED")

// Lab is shared by all trials of a session. It owns the binaries, the origins and a working directory.
type Lab struct {
	Dir      string    // working directory; removed by Close
	Progress io.Writer // receives lines about the progress; may be nil
	Keep     bool      // keep the directories of trials that failed
	Short    bool      // the short form, for CI
	Only     string    // damage only the kinds of file whose pattern contains this text
	Jobs     int       // number of trials that run at the same time; 0 means 1
	// Failures is the number of failed trials after which a piece ends; 0 means 1. Even one failed trial makes the
	// piece fail.
	Failures int
	plain    string
	faults   string // built with the tag "faults"
	origin   string
	http2    *h2peer.Server // an origin that speaks HTTP/2
	stop     func()         // ends both origins

	mu     sync.Mutex // guards the fields below
	trials int
	slots  []*slot // the free slots
}

// NewLab builds the binaries below dir and starts the origins. Close ends it.
func NewLab(ctx context.Context, dir string, progress io.Writer) (*Lab, error) {
	l := &Lab{Dir: dir, Progress: progress}
	var err error
	for _, b := range []struct {
		sub  string
		to   *string
		args []string
	}{{"bin", &l.plain, nil}, {"bin-faults", &l.faults, []string{"-tags", "faults"}}} {
		sub := filepath.Join(dir, b.sub)
		if err = os.MkdirAll(sub, 0o755); err != nil {
			return nil, err
		}
		if *b.to, err = e2e.Build(ctx, sub, b.args...); err != nil {
			return nil, err
		}
	}
	var stop func()
	if l.origin, stop, err = e2e.StartOrigin(); err != nil {
		return nil, err
	}
	if l.http2, err = startHTTP2Origin(); err != nil {
		stop()
		return nil, err
	}
	l.stop = func() { stop(); l.http2.Stop() }
	return l, nil
}

// Close stops the origins. The trials remove their own directories.
func (l *Lab) Close() { l.stop() }

func (l *Lab) progress(format string, args ...any) {
	if l.Progress != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		_, _ = fmt.Fprintf(l.Progress, format+"\n", args...)
	}
}

// trialDir creates a new working directory.
func (l *Lab) trialDir() (string, error) {
	l.mu.Lock()
	l.trials++
	n := l.trials
	l.mu.Unlock()
	dir := filepath.Join(l.Dir, fmt.Sprintf("trial-%04d", n))
	return dir, os.MkdirAll(dir, 0o755)
}

// newRand returns the source of all choices in a cycle: the same seed and cycle give the same choices.
func newRand(seed uint64, cycle int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(cycle)))
}
