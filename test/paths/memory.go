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
	samples map[string][]uint64 // PSS in bytes, oldest first
	anon    map[string]uint64   // of it, at most, memory that no file stands behind
	stop    func()
}

func watchMemory(ctx context.Context, pids map[string]func() int) *watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{samples: map[string][]uint64{}, anon: map[string]uint64{}}
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			for name, pid := range pids {
				if all, anon, err := pss(pid()); err == nil {
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
		text += fmt.Sprintf("%s %.1f then %.1f MiB (most %.1f, without files %.1f)", name, early/mib, late/mib, float64(most)/mib, float64(w.anon[name])/mib)
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

// pss is the proportional set size of a process in bytes, and what of it no file stands behind.
func pss(pid int) (all, anon uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) != 3 {
			continue
		}
		kib, _ := strconv.ParseUint(string(fields[1]), 10, 64)
		switch string(fields[0]) {
		case "Pss:":
			all = kib << 10
		case "Pss_Anon:":
			anon = kib << 10
		}
	}
	if all == 0 {
		return 0, 0, fmt.Errorf("process %d has no Pss", pid)
	}
	return all, anon, nil
}
