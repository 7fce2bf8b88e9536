package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// runMemory takes the books process's memory away under traffic: in even cycles by a cgroup whose limit is below what it uses,
// so that the kernel kills it, in odd ones by RLIMIT_AS, so that its next allocation fails.
func runMemory(ctx context.Context, l *Lab, p *Piece) error {
	return memoryFault(ctx, l, p, func(t *trial, n int) (starved, error) {
		if n%2 == 0 {
			return t.inGroup(false, t.w.BooksPID())
		}
		if err := setAddressSpace(t.w.BooksPID(), 1<<20); err != nil {
			return starved{}, fmt.Errorf("%w: prlimit: %w", ErrSkipped, err)
		}
		return starved{how: "RLIMIT_AS", undo: func() {}}, nil
	})
}

// runOOMGroup puts both processes into one cgroup of version 2 with memory.oom.group, so that the kernel kills both at once, as
// it does to a container. Version 1 knows no such thing: there, its place is taken by memory, and by the kills of both processes
// in kill, crash and term-kill.
func runOOMGroup(ctx context.Context, l *Lab, p *Piece) error {
	return memoryFault(ctx, l, p, func(t *trial, _ int) (starved, error) {
		s, err := t.inGroup(true, t.w.BooksPID(), t.w.PID())
		s.both = true
		return s, err
	})
}

// starved is what was done to a trial's processes.
type starved struct {
	how  string
	both bool   // the traffic process dies with the books process
	undo func() // once they have gone
}

func memoryFault(ctx context.Context, l *Lab, p *Piece, starve func(t *trial, n int) (starved, error)) error {
	return p.each(ctx, l, func(random *rand.Rand, n int) (Outcome, error) {
		t, err := l.newTrial(busyEnv...)
		if err != nil {
			return Outcome{}, err
		}
		o, err := t.outOfMemory(ctx, random, func() (starved, error) { return starve(t, n) })
		t.end(err != nil)
		return o, err
	})
}

func (t *trial) outOfMemory(ctx context.Context, random *rand.Rand, starve func() (starved, error)) (o Outcome, err error) {
	if _, err := t.restart(ctx); err != nil {
		return o, err
	}
	t.startTraffic(ctx, 5000)
	t.awaitTraffic(ctx, 1000+uint64(random.IntN(3000)), 5*time.Second) //nolint:gosec // small
	books, began := t.w.BooksPID(), time.Now()
	s, err := starve()
	if err != nil {
		return o, err
	}
	defer s.undo()
	for deadline := time.Now().Add(20 * time.Second); alive(books) || s.both && t.w.Running(); sleep(ctx, time.Millisecond) {
		if time.Now().After(deadline) {
			return o, fmt.Errorf("%s: the books process lives: %v, the traffic process: %v", s.how, alive(books), t.w.Running())
		}
	}
	failed, failErr := t.counted()
	if s.both {
		failed, failErr = 0, nil // what both did when they died is broken
		if _, err := t.restart(ctx); err != nil {
			return o, err
		}
	}
	t.awaitTraffic(ctx, 1000, 5*time.Second)
	o, err = t.audit(ctx)
	o.Recovery, o.Failed, o.Note = time.Since(began), failed, s.how
	return o, errors.Join(err, failErr)
}

// inGroup puts processes into a cgroup of their own and takes their memory away.
func (t *trial) inGroup(together bool, pids ...int) (starved, error) {
	group, err := newMemoryGroup(filepath.Base(filepath.Dir(t.dir))+"-"+filepath.Base(t.dir), together)
	if err != nil {
		return starved{}, err
	}
	if err := group.squeeze(pids); err != nil {
		group.remove()
		return starved{}, err
	}
	return starved{how: group.how, undo: group.remove}, nil
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
	v2, together    bool
}

// newMemoryGroup makes one, of version 2 if the machine has it, and of no other if its processes are to die together. The error
// is ErrSkipped where none can be made.
func newMemoryGroup(name string, together bool) (*memoryGroup, error) {
	var errs []error
	for _, g := range []memoryGroup{
		{dir: "/sys/fs/cgroup", how: "cgroup v2", limit: "memory.max", v2: true},
		{dir: "/sys/fs/cgroup/unified", how: "cgroup v2", limit: "memory.max", v2: true},
		{dir: "/sys/fs/cgroup/memory", how: "cgroup v1", limit: "memory.limit_in_bytes"},
	} {
		if _, err := os.Stat(filepath.Join(g.dir, "cgroup.procs")); err != nil || together && !g.v2 {
			continue
		}
		if g.together = together; together {
			g.how += " with memory.oom.group"
		}
		err := g.make(name)
		if err == nil {
			return &g, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		errs = []error{errors.New("none is mounted below /sys/fs/cgroup")}
	}
	if together {
		return nil, fmt.Errorf("%w: memory.oom.group was NOT TRIED, it needs a memory cgroup of version 2: %w", ErrSkipped, errors.Join(errs...))
	}
	return nil, fmt.Errorf("%w: no memory cgroup can be made: %w", ErrSkipped, errors.Join(errs...))
}

// make makes the group's folder below g.dir, and lets the groups there limit memory if they do not yet.
func (g *memoryGroup) make(name string) error {
	if g.v2 {
		has, err := os.ReadFile(filepath.Join(g.dir, "cgroup.controllers"))
		if err != nil {
			return err
		}
		if !slices.Contains(strings.Fields(string(has)), "memory") {
			return fmt.Errorf("%s has no memory controller, version 1 has it", g.dir)
		}
		// Refused where processes are in the folder itself: then it is for whoever made the container to divide it.
		_ = os.WriteFile(filepath.Join(g.dir, "cgroup.subtree_control"), []byte("+memory"), 0o600)
	}
	g.dir = filepath.Join(g.dir, name)
	if err := os.Mkdir(g.dir, 0o755); err != nil { //nolint:gosec // as all of them are
		return err
	}
	_, err := os.Stat(filepath.Join(g.dir, g.limit))
	if err != nil {
		g.remove()
	}
	return err
}

// squeeze puts processes into the group and takes their memory away.
func (g *memoryGroup) squeeze(pids []int) error {
	write := func(name, text string) error {
		return os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o600)
	}
	if g.together {
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
