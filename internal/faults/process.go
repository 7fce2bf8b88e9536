package faults

import "syscall"

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
