package process

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Resources returns how many bytes of memory and how many descriptors the kernel allows the process.
func Resources() (memory, descriptors int64) {
	memory, descriptors = math.MaxInt64, 1024
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		memory = int64(info.Totalram) * int64(info.Unit) // the types differ by architecture
	}
	memory = min(memory, cgroupMemory("/proc/self/cgroup", "/sys/fs/cgroup"))
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		descriptors = int64(min(limit.Cur, 1<<20))
	}
	return memory, descriptors
}

// cgroupMemory returns the smallest memory limit of the process's control group and the groups above it, for cgroups of version 1 or 2.
// Inside a container, the group's path can be its path on the host, which does not exist in the container. In that case, the limit at the
// mount's root is used.
func cgroupMemory(membership, mount string) int64 {
	least := int64(math.MaxInt64)
	list, err := os.ReadFile(membership)
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
			text, err := os.ReadFile(filepath.Join(root, dir, file))
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
