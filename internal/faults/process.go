package faults

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// alive reports whether a process is there and has not ended.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

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

func quit(pid int) { _ = syscall.Kill(pid, syscall.SIGQUIT) }

// setFileSize sets the soft RLIMIT_FSIZE of another process.
func setFileSize(pid int, soft uint64) error {
	return unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: soft, Max: ^uint64(0)}, nil)
}
