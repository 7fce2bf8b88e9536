package main

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

	"github.com/wayside-proxy/wayside/test/e2e"
)

// runMemory takes memory away from the books process under traffic. In even cycles, it moves the process into a cgroup whose limit is
// lower than the memory that the process uses, so the kernel kills the process. In odd cycles, RLIMIT_AS makes the next allocation of the
// process fail.
func runMemory(ctx context.Context, l *Lab, p *Piece) error {
	return memoryFault(ctx, l, p, func(t *trial, n int) (starved, error) {
		if n%2 == 0 {
			return t.inGroup(false, t.w.BooksPID())
		}
		pid := t.w.BooksPID()
		if err := setAddressSpace(pid, 1<<20); err != nil {
			return starved{}, fmt.Errorf("%w: prlimit: %w", ErrSkipped, err)
		}
		// When the process unmaps a file, there is room below the limit again. So the limit must be adjusted to the size of the process
		// again and again.
		follow := func() { _ = setAddressSpace(pid, 0) } // fails when the process has ended
		return starved{how: "RLIMIT_AS", again: follow, undo: func() {}}, nil
	})
}

// runOOMGroup puts both processes into one version 2 cgroup with memory.oom.group. The kernel then kills both together, as in a
// container. cgroup version 1 does not have this feature. On a machine with version 1, the closest proofs are the fault "memory" and the
// kills of both processes in "kill", "crash" and "term-kill".
func runOOMGroup(ctx context.Context, l *Lab, p *Piece) error {
	return memoryFault(ctx, l, p, func(t *trial, _ int) (starved, error) {
		s, err := t.inGroup(true, t.w.BooksPID(), t.w.PID())
		s.both = true
		return s, err
	})
}

// starved describes how memory was taken away from the processes of a trial.
type starved struct {
	how   string
	both  bool   // whether the traffic process dies together with the books process
	again func() // called every second while the processes are running; may be nil
	undo  func() // must be called when the processes have ended
}

func memoryFault(ctx context.Context, l *Lab, p *Piece, starve func(t *trial, n int) (starved, error)) error {
	return p.trials(ctx, l, busyEnv, func(t *trial, random *rand.Rand, n int) (Outcome, error) {
		return takeMemory(ctx, t, random, func() (starved, error) { return starve(t, n) })
	})
}

func takeMemory(ctx context.Context, t *trial, random *rand.Rand, starve func() (starved, error)) (o Outcome, err error) {
	if _, err := t.restart(ctx); err != nil {
		return o, err
	}
	t.startTraffic(ctx, 5000)
	t.awaitTraffic(ctx, 1000+uint64(random.IntN(3000)), 5*time.Second)
	books, began := t.w.BooksPID(), time.Now()
	s, err := starve()
	if err != nil {
		return o, err
	}
	defer s.undo()
	tighten := time.Now().Add(time.Second)
	for deadline := began.Add(20 * time.Second); alive(books) || s.both && t.w.Running(); sleep(ctx, time.Millisecond) {
		if time.Now().After(deadline) {
			return o, fmt.Errorf("%s: the books process is alive: %v, the traffic process is alive: %v", s.how, alive(books), t.w.Running())
		}
		if s.again != nil && time.Now().After(tighten) {
			s.again()
			tighten = time.Now().Add(time.Second)
		}
	}
	failed, failErr := t.counted()
	if s.both {
		failed, failErr = 0, nil // requests in flight break when both processes die
		if _, err := t.restart(ctx); err != nil {
			return o, err
		}
	}
	t.awaitTraffic(ctx, 1000, 5*time.Second)
	o, err = t.audit(ctx)
	o.Recovery, o.Failed, o.Note = time.Since(began), failed, s.how
	return o, errors.Join(err, failErr)
}

// inGroup moves processes into their own cgroup and takes memory away from them.
func (t *trial) inGroup(together bool, pids ...int) (starved, error) {
	group, err := e2e.NewMemoryGroup(filepath.Base(filepath.Dir(t.dir))+"-"+filepath.Base(t.dir), together)
	if err != nil && together {
		return starved{}, fmt.Errorf("%w: memory.oom.group was NOT TRIED, it needs a memory cgroup of version 2: %w", ErrSkipped, err)
	}
	if err != nil {
		return starved{}, fmt.Errorf("%w: %w", ErrSkipped, err)
	}
	if together {
		group.How += " with memory.oom.group"
	}
	if err := squeeze(group, together, pids); err != nil {
		group.Remove()
		return starved{}, err
	}
	return starved{how: group.How, undo: group.Remove}, nil
}

// setAddressSpace limits the address space of a process to its current size plus more bytes.
func setAddressSpace(pid int, more uint64) error {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return err
	}
	pages, err := strconv.ParseUint(strings.Fields(string(statm))[0], 10, 64)
	if err != nil {
		return err
	}
	limit := pages*uint64(os.Getpagesize()) + more
	return unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: limit, Max: ^uint64(0)}, nil)
}

// squeeze moves processes into the group and takes memory away from them.
func squeeze(g *e2e.MemoryGroup, together bool, pids []int) error {
	if together {
		if err := g.Set("memory.oom.group", "1"); err != nil {
			return err
		}
	}
	for _, pid := range pids {
		if err := g.Add(pid); err != nil {
			return fmt.Errorf("%w: %w", ErrSkipped, err)
		}
	}
	// Memory that a process allocated before it joined the group is not charged to the group. The limit applies to memory that the
	// process begins to use from now on.
	if err := g.Limit(512 << 10); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: %w", ErrSkipped, err)
	}
	return nil
}
