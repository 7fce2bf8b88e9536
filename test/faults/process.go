package main

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/test/procfs"
)

// alive reports whether a process exists and has not ended. A zombie has ended.
func alive(pid int) bool {
	stat, err := procfs.ReadStat(pid)
	return err == nil && stat.State != 'Z' && stat.State != 'X'
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

// blocksOf returns the disk usage of a file in bytes.
func blocksOf(name string) uint64 {
	var st unix.Stat_t
	if unix.Stat(name, &st) != nil {
		return 0
	}
	return uint64(st.Blocks) * 512
}

func quit(pid int) { _ = syscall.Kill(pid, syscall.SIGQUIT) }

// setFileSize sets the soft RLIMIT_FSIZE of another process.
func setFileSize(pid int, soft uint64) error {
	return unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: soft, Max: ^uint64(0)}, nil)
}
