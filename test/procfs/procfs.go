// Package procfs reads the CPU time and memory use of processes from /proc. It is used by the proofs and benchmarks.
package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of utime and stime. USER_HZ is 100 on every Linux platform on which Go runs.
const tick = 10 * time.Millisecond

// Stat holds the fields of /proc/PID/stat that are used here.
type Stat struct {
	Parent   int
	State    byte          // 'R', 'S', 'Z' and so on
	CPU      time.Duration // user and system time of the process
	Children time.Duration // the same for children that have ended and have been waited for
}

// ReadStat reads /proc/PID/stat.
func ReadStat(pid int) (Stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stat{}, err
	}
	s, err := parseStat(text)
	if err != nil {
		return s, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return s, nil
}

// parseStat finds the fields after the name of the command, which may contain spaces and parentheses.
func parseStat(text []byte) (Stat, error) {
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return Stat{}, errors.New("no command name")
	}
	fields := strings.Fields(string(text[end+1:])) // the first is field 3, the state
	if len(fields) < 15 {
		return Stat{}, errors.New("too few fields")
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return Stat{}, err
	}
	var times [4]time.Duration // utime, stime, cutime, cstime
	for i := range times {
		ticks, err := strconv.ParseInt(fields[11+i], 10, 64)
		if err != nil {
			return Stat{}, err
		}
		times[i] = time.Duration(ticks) * tick
	}
	return Stat{Parent: parent, State: fields[0][0], CPU: times[0] + times[1], Children: times[2] + times[3]}, nil
}

// PSS returns the proportional set size of a process in bytes: its private pages, and its share of pages that several
// processes map. anonymous is the part that is not backed by files.
func PSS(pid int) (all, anonymous uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, err
	}
	if all, err = kibField(text, "Pss:"); err != nil {
		return 0, 0, fmt.Errorf("/proc/%d/smaps_rollup: %w", pid, err)
	}
	anonymous, _ = kibField(text, "Pss_Anon:") // older kernels do not have it
	return all, anonymous, nil
}

// Status reads one of the kB fields of /proc/PID/status, such as "VmRSS:", and returns its value in bytes.
func Status(pid int, field string) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	n, err := kibField(text, field)
	if err != nil {
		return 0, fmt.Errorf("/proc/%d/status: %w", pid, err)
	}
	return n, nil
}

// kibField finds a line such as "Pss: 1234 kB", and returns its value in bytes.
func kibField(text []byte, field string) (uint64, error) {
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field); ok {
			kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no field %s", field)
}

// Runtime returns the total time that the threads of a process have spent on a CPU, with the precision of the scheduler. Threads that
// have ended are not included.
func Runtime(pid int) (sum time.Duration, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		return 0, fmt.Errorf("process %d has no threads: %w", pid, err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", task, err)
		}
		sum += time.Duration(n)
	}
	return sum, nil
}
