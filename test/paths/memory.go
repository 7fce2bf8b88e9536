package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/test/procfs"
)

// watch samples the memory of processes. Processes are given as functions that return their current process IDs, because processes are
// replaced during the run.
type watch struct {
	mu      sync.Mutex
	samples map[string][]uint64 // PSS in bytes, oldest first
	anon    map[string]uint64   // maximum of the part that is not backed by files
	stop    func()
}

func watchMemory(ctx context.Context, pids map[string]func() int) *watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{samples: map[string][]uint64{}, anon: map[string]uint64{}}
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			for name, pid := range pids {
				if all, anon, err := procfs.PSS(pid()); err == nil {
					w.mu.Lock()
					w.samples[name] = append(w.samples[name], all)
					w.anon[name] = max(w.anon[name], anon)
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

// flat describes the average memory of each process in the third and in the last fifth of the run, and the maximum. It returns an error
// if the memory of a process at the end was larger than in the middle by more than a quarter plus 8 MiB. It does not check runs of less
// than ten seconds, because these end before memory use has become stable.
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
		text += fmt.Sprintf("%s %.1f then %.1f MiB (most %.1f, without files %.1f)", name, early/mib, late/mib, float64(most)/mib, float64(w.anon[name])/mib)
		if late > 1.25*early && late > early+8*mib {
			err = fmt.Errorf("memory of the %s process grows from %.1f to %.1f MiB", name, early/mib, late/mib)
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
