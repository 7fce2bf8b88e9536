package main

import (
	"bytes"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// alive reports whether a process is there and has not ended: one that waits for its parent to take note has.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	state := bytes.LastIndexByte(stat, ')') + 2
	return state < len(stat) && stat[state] != 'Z' && stat[state] != 'X'
}

func kill(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }

func term(pid int) { _ = syscall.Kill(pid, syscall.SIGTERM) }

func pause(pid int) {
	if pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
}

func resume(pid int) {
	if pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

// blocksOf is what a file takes on disk, in bytes.
func blocksOf(name string) uint64 {
	var st unix.Stat_t
	if unix.Stat(name, &st) != nil {
		return 0
	}
	return uint64(st.Blocks) * 512 //nolint:gosec // not negative
}

func quit(pid int) { _ = syscall.Kill(pid, syscall.SIGQUIT) }

// setFileSize sets the soft RLIMIT_FSIZE of another process.
func setFileSize(pid int, soft uint64) error {
	return unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: soft, Max: ^uint64(0)}, nil)
}
