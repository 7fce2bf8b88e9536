package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/test/procfs"
)

// stopTimeout is the time between SIGTERM and SIGKILL, in which wayside archives its events.
const stopTimeout = 30 * time.Second

// process is a child process of the benchmark, together with its own descendants.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string     // file with its output
	done chan error // receives the process's exit error; capacity 1
}

// startProcess starts a command and writes its output to a file. The command has its own process group and therefore
// gets no signals from the terminal; stop ends it.
func startProcess(name, dir string, env []string, command string, args ...string) (*process, error) {
	logName := filepath.Join(dir, name+".out")
	output, err := os.Create(logName)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	cmd := exec.Command(command, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, log: logName, done: make(chan error, 1)}
	go func() { p.done <- cmd.Wait() }()
	return p, nil
}

// stop ends the process and waits for it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only if the process has ended
	select {
	case err := <-p.done:
		p.done <- err
		var exit *exec.ExitError
		if err == nil || errors.As(err, &exit) && (exit.Exited() || endedBy(exit, syscall.SIGTERM)) {
			return nil // any exit code is accepted after SIGTERM
		}
		return p.explain(fmt.Errorf("%s: %w", p.name, err))
	case <-time.After(stopTimeout):
		err := fmt.Errorf("%s did not stop within %v and was killed", p.name, stopTimeout)
		return errors.Join(err, p.cmd.Process.Kill())
	}
}

func endedBy(exit *exec.ExitError, signal syscall.Signal) bool {
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == signal
}

// explain adds the last lines of the process's output to an error.
func (p *process) explain(err error) error {
	text, readErr := os.ReadFile(p.log)
	if readErr != nil {
		return err
	}
	return fmt.Errorf("%w; its output ends with:\n%s", err, text[max(0, len(text)-2000):])
}

// awaitReady calls ready until it succeeds, the process ends, or ten seconds have passed.
func (p *process) awaitReady(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case exit := <-p.done:
			p.done <- exit
			return p.explain(fmt.Errorf("%s ended while it started: %v", p.name, exit))
		case <-ctx.Done():
			return p.explain(fmt.Errorf("%s is not ready: %w", p.name, err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// usage is the CPU time and the memory use of a process tree.
type usage struct {
	cpu       time.Duration // user and system time since the start, including children that have ended
	rootCPU   time.Duration // CPU time of the root itself, without children
	processes int
	pss       uint64 // in bytes; 0 if usageOf was called without withMemory
}

// usageOf adds up a process and all its descendants.
func usageOf(root int, withMemory bool) (u usage, err error) {
	tree, err := treeOf(root)
	if err != nil {
		return u, err
	}
	for pid, s := range tree {
		cpu := cpuOf(pid, s)
		if pid == root {
			u.rootCPU = cpu
		}
		u.cpu += cpu + s.Children
		u.processes++
		if withMemory {
			pss, _, err := procfs.PSS(pid)
			if err != nil {
				return u, err
			}
			u.pss += pss
		}
	}
	return u, nil
}

// cpuOf returns the CPU time of a process, including threads that have ended, with the precision of the scheduler. The figure in s has a
// resolution of 10 ms, which is 3 % of the time that a proxy needs for 2,000 requests per second over five seconds.
func cpuOf(pid int, s procfs.Stat) time.Duration {
	const schedClock = 2                 // CPUCLOCK_SCHED
	clock := int32(^pid)<<3 | schedClock // the computation of clock_getcpuclockid(3)
	var now unix.Timespec
	if unix.ClockGettime(clock, &now) != nil {
		return s.CPU // the process has just ended
	}
	return time.Duration(now.Nano())
}

// treeOf reads the figures of a process and all its descendants.
func treeOf(root int) (map[int]procfs.Stat, error) {
	stats, err := readStats()
	if err != nil {
		return nil, err
	}
	if _, ok := stats[root]; !ok {
		return nil, fmt.Errorf("process %d has ended", root)
	}
	tree := map[int]procfs.Stat{}
	for pid, s := range stats {
		if below(stats, pid, root) {
			tree[pid] = s
		}
	}
	return tree, nil
}

// below reports whether pid is root or a descendant of it.
func below(stats map[int]procfs.Stat, pid, root int) bool {
	for range 100 { // deeper trees do not occur, but a pid that is reused while it is being read could create a cycle
		if pid == root {
			return true
		}
		s, ok := stats[pid]
		if !ok || s.Parent == 0 {
			return false
		}
		pid = s.Parent
	}
	return false
}

// readStats reads the figures of all processes.
func readStats() (map[int]procfs.Stat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	stats := map[int]procfs.Stat{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := procfs.ReadStat(pid); err == nil { // otherwise the process has ended
			stats[pid] = s
		}
	}
	return stats, nil
}
