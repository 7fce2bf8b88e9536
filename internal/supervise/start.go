package supervise

import (
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// startLate starts cmd with this timer slack, which a process inherits from the thread that makes it (PR_SET_TIMERSLACK, prctl(2)).
// The slack only saves processor time, so a kernel that refuses it changes nothing else.
func startLate(cmd *exec.Cmd, slack time.Duration) error {
	if slack > 0 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack.Nanoseconds()), 0, 0, 0); err == nil {
			defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }() // 0: what it was
		}
	}
	return cmd.Start() //nolint:wrapcheck // the caller says what was started
}
