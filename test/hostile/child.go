package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// child is a process that runs this program in another role. It ends when its standard input is closed, and therefore also when this
// process ends.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startChild(role string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-role", role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &child{cmd, in, bufio.NewReader(out)}, cmd.Start()
}

// stop ends the child and waits for it. After that, the CPU time of the child is known.
func (c *child) stop() error {
	_ = c.in.Close()
	timer := time.AfterFunc(20*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	return c.cmd.Wait()
}

func startOrigin() (*child, string, error) {
	c, err := startChild("origin")
	if err != nil {
		return nil, "", err
	}
	addr, err := c.out.ReadString('\n')
	if err != nil {
		_ = c.stop()
		return nil, "", fmt.Errorf("start the origin: %w", err)
	}
	return c, strings.TrimSpace(addr), nil
}

// assault is the attacking process.
type assault struct {
	*child
	mu   sync.Mutex // guards last and held
	last tally
	held int64 // maximum number of connections at the same time
	done chan struct{}
}

func startAssault(t target) (*assault, error) {
	c, err := startChild("attacker")
	if err != nil {
		return nil, err
	}
	a := &assault{child: c, done: make(chan struct{})}
	if err := json.NewEncoder(c.in).Encode(t); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	go func() {
		defer close(a.done)
		lines := json.NewDecoder(c.out)
		for {
			var now tally
			if lines.Decode(&now) != nil {
				return
			}
			a.mu.Lock()
			a.last, a.held = now, max(a.held, now.Held)
			a.mu.Unlock()
		}
	}()
	return a, nil
}

// stop ends the attack and returns its figures and its CPU time.
func (a *assault) stop() (last tally, held int64, cpu time.Duration, err error) {
	timer := time.AfterFunc(30*time.Second, func() { _ = a.cmd.Process.Kill() })
	defer timer.Stop()
	_ = a.in.Close()
	<-a.done
	err = a.child.stop()
	if state := a.cmd.ProcessState; state != nil {
		cpu = state.UserTime() + state.SystemTime()
	}
	return a.last, a.held, cpu, err
}
