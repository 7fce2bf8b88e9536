package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MemoryGroup is a memory cgroup for a test: version 2 if the machine has it, otherwise version 1.
type MemoryGroup struct {
	Dir string // below /sys/fs/cgroup
	How string // "cgroup v1" or "cgroup v2"
	v2  bool
}

// ErrNoMemoryGroup means that the test cannot create a memory cgroup on this machine.
var ErrNoMemoryGroup = errors.New("cannot create a memory cgroup (this needs root and a writable /sys/fs/cgroup)")

// NewMemoryGroup creates a group with this name; if v2Only is set, cgroup v1 is not used. Its error wraps ErrNoMemoryGroup.
func NewMemoryGroup(name string, v2Only bool) (*MemoryGroup, error) {
	var errs []error
	for _, g := range []MemoryGroup{
		{Dir: "/sys/fs/cgroup", How: "cgroup v2", v2: true},
		{Dir: "/sys/fs/cgroup/unified", How: "cgroup v2", v2: true},
		{Dir: "/sys/fs/cgroup/memory", How: "cgroup v1"},
	} {
		if _, err := os.Stat(filepath.Join(g.Dir, "cgroup.procs")); err != nil || v2Only && !g.v2 {
			continue
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
	return nil, fmt.Errorf("%w: %w", ErrNoMemoryGroup, errors.Join(errs...))
}

// make creates the group's folder below g.Dir, and enables the memory controller for the groups there.
func (g *MemoryGroup) make(name string) error {
	if g.v2 {
		has, err := os.ReadFile(filepath.Join(g.Dir, "cgroup.controllers"))
		if err != nil {
			return err
		}
		if !slices.Contains(strings.Fields(string(has)), "memory") {
			return fmt.Errorf("%s has no memory controller, because version 1 has it", g.Dir)
		}
		// The kernel rejects this if there are processes in the folder's own group. In that case, only the container runtime can change
		// the setting.
		_ = os.WriteFile(filepath.Join(g.Dir, "cgroup.subtree_control"), []byte("+memory"), 0o600)
	}
	g.Dir = filepath.Join(g.Dir, name)
	if err := os.Mkdir(g.Dir, 0o755); err != nil {
		return err
	}
	_, err := os.Stat(filepath.Join(g.Dir, g.limitFile()))
	if err != nil {
		g.Remove()
	}
	return err
}

func (g *MemoryGroup) limitFile() string { return g.either("memory.limit_in_bytes", "memory.max") }

func (g *MemoryGroup) either(v1, v2 string) string {
	if g.v2 {
		return v2
	}
	return v1
}

// Set writes one of the group's files.
func (g *MemoryGroup) Set(file, text string) error {
	return os.WriteFile(filepath.Join(g.Dir, file), []byte(text), 0o600)
}

// Limit sets the limit of the group's memory, in bytes.
func (g *MemoryGroup) Limit(bytes int64) error {
	if err := g.Set(g.limitFile(), strconv.FormatInt(bytes, 10)); err != nil {
		return fmt.Errorf("limit a cgroup: %w", err)
	}
	return nil
}

// Add moves a process into the group.
func (g *MemoryGroup) Add(pid int) error {
	if err := g.Set("cgroup.procs", strconv.Itoa(pid)); err != nil {
		return fmt.Errorf("move a process into a cgroup: %w", err)
	}
	return nil
}

// Peak returns the maximum memory use of the group in bytes, including the page cache, or 0 if the kernel does not
// report it.
func (g *MemoryGroup) Peak() int64 {
	text, _ := os.ReadFile(filepath.Join(g.Dir, g.either("memory.max_usage_in_bytes", "memory.peak")))
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}

// CountSockets makes cgroup version 1 count the buffers of TCP connections, separately and without a limit. Version 2 always counts them
// towards the group's limit.
func (g *MemoryGroup) CountSockets() error {
	if g.v2 {
		return nil
	}
	return g.Set("memory.kmem.tcp.limit_in_bytes", strconv.Itoa(1<<40)) // the kernel counts nothing unless a limit is set
}

// Sockets returns the current size of the buffers of the group's TCP connections in bytes, or 0 if the kernel does not
// report it.
func (g *MemoryGroup) Sockets() (n int64) {
	if !g.v2 {
		text, _ := os.ReadFile(filepath.Join(g.Dir, "memory.kmem.tcp.usage_in_bytes"))
		n, _ = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		return n
	}
	text, _ := os.ReadFile(filepath.Join(g.Dir, "memory.stat"))
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "sock %d", &n); err == nil {
			return n
		}
	}
	return 0
}

// Unreclaimable returns the number of bytes used by the group that the kernel cannot reclaim: everything except cached pages of files,
// including the buffers of TCP connections. If this exceeds the limit of a group of version 2, the kernel kills a process.
func (g *MemoryGroup) Unreclaimable() (n int64) {
	text, _ := os.ReadFile(filepath.Join(g.Dir, g.either("memory.usage_in_bytes", "memory.current")))
	n, _ = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if !g.v2 {
		n += g.Sockets()
	}
	text, _ = os.ReadFile(filepath.Join(g.Dir, "memory.stat"))
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		bytes, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case g.either("cache", "file"):
			n -= bytes
		case "shmem": // included in the cached pages, but not reclaimable
			n += bytes
		}
	}
	return n
}

// OOMKills returns the number of processes that the kernel has killed because of the group's limit.
func (g *MemoryGroup) OOMKills() (n int) {
	text, _ := os.ReadFile(filepath.Join(g.Dir, g.either("memory.oom_control", "memory.events")))
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "oom_kill %d", &n); err == nil {
			return n
		}
	}
	return 0
}

// Remove deletes the group when its processes have ended.
func (g *MemoryGroup) Remove() {
	for range 200 {
		if os.Remove(g.Dir) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
