//go:build faults

package traffic

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy"
)

// syncEnv is the environment variable that names a trigger file. Each time a test creates this file, the next fsync of the queue fails, and the
// file is removed.
const syncEnv = "WAYSIDE_FAULT_SYNC"

// spoolFiles returns a function that opens the spool's files and can make their fsync fail, or nil if syncEnv is not set.
func spoolFiles() func(name string, flag int, perm os.FileMode) (*os.File, error) {
	trigger := os.Getenv(syncEnv)
	if trigger == "" {
		return nil
	}
	d := &failingSync{}
	go d.watch(trigger)
	return d.open
}

type failingSync struct {
	mu   sync.Mutex // guards last
	last *os.File   // the most recently opened queue file
}

func (d *failingSync) open(name string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err == nil && strings.HasSuffix(name, ".db") && flag&os.O_RDWR != 0 {
		d.mu.Lock()
		d.last = f
		d.mu.Unlock()
	}
	return f, err
}

// watch replaces the queue file with /dev/null, which accepts every write and fails every fsync, when the trigger file appears.
func (d *failingSync) watch(trigger string) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	for ; ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(trigger); err != nil {
			continue
		}
		d.mu.Lock()
		err := unix.Dup3(int(null.Fd()), int(d.last.Fd()), unix.O_CLOEXEC)
		d.mu.Unlock()
		if err == nil {
			_ = os.Remove(trigger)
		}
	}
}

// loseEnv is the environment variable with the number of an event, counted from 1, that is dropped between the proxy and the spool. With
// it, a test can check whether the figures show the loss.
const loseEnv = "WAYSIDE_FAULT_LOSE"

func recorderFor(r proxy.Recorder) proxy.Recorder {
	nth, err := strconv.ParseUint(os.Getenv(loseEnv), 10, 64)
	if err != nil {
		return r
	}
	return &losing{Recorder: r, nth: nth}
}

type losing struct {
	proxy.Recorder
	nth  uint64
	seen atomic.Uint64
}

func (l *losing) Record(e *event.Event) {
	if l.seen.Add(1) != l.nth {
		l.Recorder.Record(e)
	}
}
