package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// runMemory takes the books process's memory away under traffic: in even cycles by a cgroup whose limit is below what it uses,
// so that the kernel kills it, in odd ones by RLIMIT_AS, so that its next allocation fails. With cgroup v2, both processes are
// in the group in every fourth cycle, and memory.oom.group kills both at once, as kubelet does.
func runMemory(ctx context.Context, l *Lab, p *Piece) error {
	return p.each(ctx, l, func(random *rand.Rand, n int) (Outcome, error) {
		t, err := l.newTrial(busyEnv...)
		if err != nil {
			return Outcome{}, err
		}
		o, err := t.outOfMemory(ctx, random, n)
		t.end(err != nil)
		return o, err
	})
}

func (t *trial) outOfMemory(ctx context.Context, random *rand.Rand, n int) (o Outcome, err error) {
	if _, err := t.restart(ctx); err != nil {
		return o, err
	}
	t.startTraffic(ctx, 5000)
	t.awaitTraffic(ctx, 1000+uint64(random.IntN(3000)), 5*time.Second) //nolint:gosec // small
	books, both := t.w.BooksPID(), false
	how := "RLIMIT_AS"
	began := time.Now()
	if n%2 == 0 {
		group, err := newMemoryGroup(filepath.Base(filepath.Dir(t.dir)) + "-" + filepath.Base(t.dir))
		if err != nil {
			return o, err
		}
		defer group.remove()
		how, both = group.how, group.v2 && n%4 == 2
		pids := []int{books}
		if both {
			how, pids = how+", both processes", append(pids, t.w.PID())
		}
		if err := group.squeeze(pids); err != nil {
			return o, err
		}
	} else if err := setAddressSpace(books, 1<<20); err != nil {
		return o, fmt.Errorf("%w: prlimit: %w", ErrSkipped, err)
	}
	for deadline := time.Now().Add(20 * time.Second); alive(books); sleep(ctx, time.Millisecond) {
		if time.Now().After(deadline) {
			return o, fmt.Errorf("%s: the books process lives on", how)
		}
	}
	if both {
		t.killAll() // nothing of it is left; this waits for the end
		if _, err := t.restart(ctx); err != nil {
			return o, err
		}
	}
	failed, failErr := t.counted()
	if both {
		failErr = nil
	}
	t.awaitTraffic(ctx, 1000, 5*time.Second)
	o, err = t.audit(ctx)
	o.Recovery, o.Failed, o.Note = time.Since(began), failed, how
	if both {
		o.Failed = 0
	}
	return o, errors.Join(err, failErr)
}

// setAddressSpace leaves a process so many bytes of address space more than it has.
func setAddressSpace(pid int, more uint64) error {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return err
	}
	pages, err := strconv.ParseUint(strings.Fields(string(statm))[0], 10, 64)
	if err != nil {
		return err
	}
	limit := pages*uint64(os.Getpagesize()) + more //nolint:gosec // positive
	return unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: limit, Max: ^uint64(0)}, nil)
}

// memoryGroup is a memory cgroup of the trial's own.
type memoryGroup struct {
	dir, how, limit string
	v2              bool
}

// newMemoryGroup makes one, of version 2 if the machine has it. The error is ErrSkipped where none can be made.
func newMemoryGroup(name string) (*memoryGroup, error) {
	var errs []error
	for _, g := range []memoryGroup{
		{dir: "/sys/fs/cgroup", how: "cgroup v2, memory.oom.group", limit: "memory.max", v2: true},
		{dir: "/sys/fs/cgroup/memory", how: "cgroup v1", limit: "memory.limit_in_bytes"},
	} {
		if _, err := os.Stat(filepath.Join(g.dir, "cgroup.procs")); err != nil {
			continue
		}
		g.dir = filepath.Join(g.dir, name)
		err := os.Mkdir(g.dir, 0o755) //nolint:gosec // as all of them are
		if err == nil {
			if _, err = os.Stat(filepath.Join(g.dir, g.limit)); err == nil {
				return &g, nil
			}
			g.remove()
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("%w: no memory cgroup can be made: %w", ErrSkipped, errors.Join(errs...))
}

// squeeze puts processes into the group and takes their memory away.
func (g *memoryGroup) squeeze(pids []int) error {
	write := func(name, text string) error {
		return os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o600)
	}
	if g.v2 {
		if err := write("memory.oom.group", "1"); err != nil {
			return err
		}
	}
	for _, pid := range pids {
		if err := write("cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("%w: move a process into a cgroup: %w", ErrSkipped, err)
		}
	}
	// What a process allocated before it came is not charged to the group: the limit holds for what it touches from now on.
	if err := write(g.limit, strconv.Itoa(512<<10)); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: limit a cgroup: %w", ErrSkipped, err)
	}
	return nil
}

// remove deletes the group, once the processes in it have gone.
func (g *memoryGroup) remove() {
	for range 200 {
		if os.Remove(g.dir) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
