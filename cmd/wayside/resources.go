package main

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/memlimit"
)

// Limits of the traffic path that follow from the memory and the descriptors that this process may have. docs/HTTP.md says what
// each protects.

const (
	// A client's connection takes up to this much: stack, reader and the buffers that are kept. The kernel's come on top.
	clientConnBytes = 60 << 10
	// A connection to the upstream, with the kernel's buffer for a response that its client does not take.
	upstreamConnBytes = 128 << 10
	upstreamConnsMost = 4096
	connsLeast        = 16
	// What both processes need without connections; of little memory it is at most half. It is taken off before memory is divided among
	// clients, because the connections of those that do not read cost twice as much as the usual ones.
	withoutConnsBytes = 128 << 20
	// connsShare, heldShare and trafficShare are the parts of all memory for either kind of connection, for buffers that are
	// counted, and for the traffic process as a whole.
	connsShare, heldShare, trafficShare = 4, 16, 2
	trafficBytesLeast                   = 32 << 20
	// descriptorsKept are for files, the books process and the links to it; the admin listeners have two eighths, at most 1,024 each.
	descriptorsKept = 192
)

// resources is what the process may have.
type resources struct {
	memory      int64 // bytes
	descriptors int64
}

// availableResources asks the kernel.
func availableResources() resources {
	r := resources{memory: math.MaxInt64, descriptors: 1024}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		r.memory = int64(info.Totalram) * int64(info.Unit) //nolint:gosec,unconvert // of a real machine; the type differs by architecture
	}
	r.memory = min(r.memory, cgroupMemory("/proc/self/cgroup", "/sys/fs/cgroup"))
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		r.descriptors = int64(min(limit.Cur, 1<<20)) //nolint:gosec // bounded
	}
	return r
}

// cgroupMemory is the least memory limit of the process's control group and those above it, of version 1 or 2. Inside a container
// the group's path may be the host's, which cannot be seen there: then the limit is that of the mount's root.
func cgroupMemory(membership, mount string) int64 {
	least := int64(math.MaxInt64)
	list, err := os.ReadFile(membership) //nolint:gosec // the kernel's
	if err != nil {
		return least
	}
	for line := range strings.Lines(string(list)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		root, file := mount, "memory.max"
		if parts[1] != "" {
			root, file = filepath.Join(mount, "memory"), "memory.limit_in_bytes"
			if !strings.Contains(","+parts[1]+",", ",memory,") {
				continue
			}
		}
		for dir := filepath.Clean("/" + parts[2]); ; dir = filepath.Dir(dir) {
			text, err := os.ReadFile(filepath.Join(root, dir, file)) //nolint:gosec // the kernel's
			if n, perr := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64); err == nil && perr == nil && n > 0 {
				least = min(least, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	return least
}

// deriveLimits fills in the limits that are not set.
func deriveLimits(cfg *configs.Config, r resources) {
	p := &cfg.Proxy
	left := max(r.descriptors-2*min(r.descriptors/8, 1024)-descriptorsKept, 0)
	memory := r.memory / connsShare
	if p.UpstreamConnsMax == 0 {
		p.UpstreamConnsMax = int(max(min(upstreamConnsMost, memory/upstreamConnBytes, left/4), connsLeast))
	}
	if p.ConnsMax == 0 { // an upgraded connection has one to the upstream besides the pool's
		p.ConnsMax = int(max(min((r.memory-min(withoutConnsBytes, r.memory/2))/connsShare/clientConnBytes, (left-int64(p.UpstreamConnsMax))/2), connsLeast))
	}
	if p.HeldBytesMax == 0 {
		p.HeldBytesMax = configs.Bytes(max(r.memory/heldShare, 1<<20))
	}
}

// trafficBytes is the memory that the traffic process aims to stay below, with room for the mapped journal and the books process.
func trafficBytes(cfg *configs.Config, r resources) int64 {
	return max(r.memory/trafficShare-int64(cfg.Spool.Segments)*cfg.Spool.SegmentBytes.Int64(), trafficBytesLeast)
}

// keepMemory holds the traffic process near its aim, unless the operator has set one.
func keepMemory(ctx context.Context, cfg *configs.Config, log *slog.Logger) {
	if os.Getenv("GOMEMLIMIT") == "" {
		memlimit.Keep(ctx, trafficBytes(cfg, availableResources()), log)
	}
}
