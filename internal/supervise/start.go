package supervise

import (
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// startWithSlack starts cmd with a timer slack, which a process inherits from the thread that creates it
// (PR_SET_TIMERSLACK, prctl(2)). The slack only saves CPU time. If the kernel rejects it, the process starts without
// it.
func startWithSlack(cmd *exec.Cmd, slack time.Duration) error {
	if slack > 0 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack.Nanoseconds()), 0, 0, 0); err == nil {
			defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }() // 0 restores the default
		}
	}
	return cmd.Start()
}
