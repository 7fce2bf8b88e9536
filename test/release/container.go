package main

import (
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
	suite     = "bookworm"
	bootLimit = 2 * time.Minute
)

// debootstrap installs a minimal Debian system with systemd. The system contains only Debian's required packages.
func (r *release) debootstrap(ctx context.Context) (root string, err error) {
	root = filepath.Join(r.scratch, "debian")
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	out, err := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include=systemd-sysv,dbus", suite, root).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("debootstrap: %w: %s", err, out[max(0, len(out)-1000):])
	}
	return root, nil
}

// container is a Debian system with a running systemd, in its own namespaces except for the network.
type container struct {
	root   string
	leader string // process ID of its systemd
	nspawn *exec.Cmd
	ended  chan struct{} // closed when nspawn has ended
}

// boot starts the system in root.
func boot(ctx context.Context, root string) (*container, error) {
	c := &container{root: root, ended: make(chan struct{})}
	// With --register=no and --keep-unit, systemd-nspawn works on a machine whose first process is not systemd.
	c.nspawn = exec.Command("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--console=pipe", "--directory="+root)
	var out bytes.Buffer
	c.nspawn.Stdout, c.nspawn.Stderr = &out, &out
	c.nspawn.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.nspawn.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = c.nspawn.Wait()
		close(c.ended)
	}()
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	for {
		if err := c.findLeader(); err == nil {
			// If a unit that has nothing to do with wayside has failed, the state is "degraded".
			if state, _ := c.run(ctx, "systemctl", "is-system-running"); state == "running" || state == "degraded" {
				say("a new Debian system: systemd is %s", state)
				return c, nil
			}
		}
		select {
		case <-c.ended:
			return nil, fmt.Errorf("systemd-nspawn ended: %s", &out)
		case <-ctx.Done():
			c.shutdown()
			return nil, fmt.Errorf("systemd did not start: %w: %s", ctx.Err(), &out)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// findLeader finds the systemd of the container, which is a child of nspawn.
func (c *container) findLeader() error {
	out, err := exec.Command("pgrep", "--parent", strconv.Itoa(c.nspawn.Process.Pid), "--exact", "systemd").Output()
	c.leader = strings.TrimSpace(string(out))
	return err
}

// shutdown stops the system. If it does not stop, it is killed.
func (c *container) shutdown() {
	if c.leader != "" {
		_, _ = c.run(context.Background(), "systemctl", "poweroff")
	}
	select {
	case <-c.ended:
	case <-time.After(time.Minute):
		_ = c.nspawn.Process.Kill()
		<-c.ended
	}
}

// run executes a command in the system, and returns its output without the last line break.
func (c *container) run(ctx context.Context, words ...string) (string, error) {
	enter := []string{
		"--target", c.leader, "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--wd=/", "--", "/usr/bin/env", "-i",
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "HOME=/root",
	}
	out, err := exec.CommandContext(ctx, "nsenter", append(enter, words...)...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, text)
	}
	return text, nil
}

// all executes commands, and stops at the first one that fails.
func (c *container) all(ctx context.Context, commands ...string) error {
	for _, command := range commands {
		if _, err := c.run(ctx, strings.Fields(command)...); err != nil {
			return err
		}
	}
	return nil
}

// expect executes a command whose output must be want. Its exit code may be anything.
func (c *container) expect(ctx context.Context, want string, words ...string) error {
	got, err := c.run(ctx, words...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if got != want {
		return fmt.Errorf("%s: %q, want %q", strings.Join(words, " "), got, want)
	}
	return nil
}

// add copies a file into the system and returns its name there.
func (c *container) add(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	inside := filepath.Join("/root", filepath.Base(name))
	return inside, os.WriteFile(filepath.Join(c.root, inside), text, 0o644)
}
