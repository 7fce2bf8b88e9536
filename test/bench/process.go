package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	tick        = 10 * time.Millisecond // of utime and stime: USER_HZ is 100 on every Linux platform that Go runs on
	stopTimeout = 30 * time.Second      // between SIGTERM and SIGKILL; wayside archives meanwhile
)

// process is a child that the harness started, with everything below it.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string     // file with its output
	done chan error // its end; holds one value
}

// startProcess starts a command with its output in a file. It does not receive the terminal's signals: stop ends it.
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
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	select {
	case err := <-p.done:
		p.done <- err
		var exit *exec.ExitError
		if err == nil || errors.As(err, &exit) && (exit.Exited() || endedBy(exit, syscall.SIGTERM)) {
			return nil // whatever it thinks of being stopped
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

// explain adds the end of the process's output to an error.
func (p *process) explain(err error) error {
	text, readErr := os.ReadFile(p.log)
	if readErr != nil {
		return err
	}
	return fmt.Errorf("%w; its output ends with:\n%s", err, text[max(0, len(text)-2000):])
}

// awaitReady asks ready again and again until it holds, the process ends, or ten seconds have passed.
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
			return p.explain(fmt.Errorf("%s ended at its start: %v", p.name, exit))
		case <-ctx.Done():
			return p.explain(fmt.Errorf("%s is not ready: %w", p.name, err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// usage is what a tree of processes has used, and holds.
type usage struct {
	cpu       time.Duration // user and system time since the start, children that ended included
	processes int
	pss       uint64 // bytes, only when asked for
}

// usageOf sums over a process and everything below it.
func usageOf(root int, withMemory bool) (u usage, err error) {
	stats, err := readStats()
	if err != nil {
		return u, err
	}
	if _, ok := stats[root]; !ok {
		return u, fmt.Errorf("process %d has ended", root)
	}
	for pid, s := range stats {
		if !below(stats, pid, root) {
			continue
		}
		u.cpu += s.cpu
		u.processes++
		if withMemory {
			pss, err := readPSS(pid)
			if err != nil {
				return u, err
			}
			u.pss += pss
		}
	}
	return u, nil
}

type stat struct {
	parent int
	cpu    time.Duration
}

func below(stats map[int]stat, pid, root int) bool {
	for range 100 { // deeper trees do not occur; a pid reused while reading could make a circle
		if pid == root {
			return true
		}
		s, ok := stats[pid]
		if !ok || s.parent == 0 {
			return false
		}
		pid = s.parent
	}
	return false
}

func readStats() (map[int]stat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	stats := map[int]stat{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // ended since
		}
		s, err := parseStat(text)
		if err != nil {
			return nil, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		stats[pid] = s
	}
	return stats, nil
}

// parseStat reads the parent and utime, stime, cutime and cstime. The command's name may hold spaces and parentheses.
func parseStat(text []byte) (stat, error) {
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return stat{}, errors.New("no command name")
	}
	fields := strings.Fields(string(text[end+1:])) // the first is field 3, the state
	if len(fields) < 15 {
		return stat{}, errors.New("too few fields")
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return stat{}, err
	}
	s := stat{parent: parent}
	for _, field := range fields[11:15] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return stat{}, err
		}
		s.cpu += time.Duration(ticks) * tick
	}
	return s, nil
}

// readPSS returns the proportional set size in bytes: private pages, and a share of those that several processes map.
func readPSS(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	return parsePSS(text)
}

func parsePSS(text []byte) (uint64, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("smaps_rollup has no Pss line")
}
