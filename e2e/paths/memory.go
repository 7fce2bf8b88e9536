package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// watch samples what processes take, named by functions because they come and go.
type watch struct {
	mu      sync.Mutex
	samples map[string][]uint64 // bytes, oldest first
	stop    func()
}

func watchMemory(ctx context.Context, pids map[string]func() int) *watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{samples: map[string][]uint64{}}
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			for name, pid := range pids {
				if n, err := pss(pid()); err == nil {
					w.mu.Lock()
					w.samples[name] = append(w.samples[name], n)
					w.mu.Unlock()
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	w.stop = func() { cancel(); done.Wait() }
	return w
}

// flat says what each process took in the third fifth and in the last, on average, and at most. It is an error if one took a
// quarter and 8 MiB more at the end than in the middle; a run of less than ten seconds is over before it is warm.
func (w *watch) flat() (text string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	const mib = 1 << 20
	for _, name := range []string{"traffic", "books"} {
		s := w.samples[name]
		if len(s) < 50 {
			continue
		}
		early, late, most := mean(s[2*len(s)/5:3*len(s)/5]), mean(s[4*len(s)/5:]), uint64(0)
		for _, n := range s {
			most = max(most, n)
		}
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%s %.1f then %.1f MiB (most %.1f)", name, early/mib, late/mib, float64(most)/mib)
		if late > 1.25*early && late > early+8*mib {
			err = fmt.Errorf("memory of %s grows from %.1f to %.1f MiB", name, early/mib, late/mib)
		}
	}
	return text, err
}

func mean(s []uint64) float64 {
	sum := 0.0
	for _, n := range s {
		sum += float64(n)
	}
	return sum / float64(len(s))
}

// pss is the proportional set size of a process in bytes.
func pss(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if fields := bytes.Fields(line); len(fields) == 3 && string(fields[0]) == "Pss:" {
			kib, err := strconv.ParseUint(string(fields[1]), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no Pss", pid)
}
