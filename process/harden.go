// Package process is what either of wayside's processes does to itself before it works: it gives up rights (harden.go), lets traffic go
// first on the processor (nice.go), and learns how much memory and how many descriptors it may have (resources.go). The two processes
// themselves are in the packages below.
package process

import (
	"errors"
	"fmt"
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// Harden gives up what the process does not need, see ADR 80: descriptors that whoever started it left open do not reach its children; no other
// process of the same user reads its memory or its environment, in which there may be keys; and nothing that it starts can gain
// privileges. What the kernel does not know is left out. It is called before anything is started.
func Harden() error {
	var errs []error
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		errs = append(errs, fmt.Errorf("keep descriptors from children: %w", err))
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		errs = append(errs, fmt.Errorf("make the process non-dumpable: %w", err))
	}
	// Linux has this for each thread. A binary with cgo cannot set it for all of them; its children have it of this one.
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	var err error
	if errno == syscall.ENOTSUP {
		err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	} else if errno != 0 {
		err = errno
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("give up new privileges: %w", err))
	}
	return errors.Join(errs...)
}
