// Package process prepares a process of wayside before it starts to work: it gives up rights (harden.go), sets the priority on the
// processor (nice.go), and reads how much memory and how many descriptors the process may use (resources.go). Both processes use it;
// they themselves are in the packages below.
package process

import (
	"errors"
	"fmt"
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// Harden gives up rights that the process does not need (ADR 80). Descriptors that the parent left open do not reach its children. No other
// process of the same user can read its memory or its environment, which may hold keys. Nothing that it starts can gain privileges.
// What the kernel does not support is skipped. Call it before anything is started.
func Harden() error {
	var errs []error
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		errs = append(errs, fmt.Errorf("keep descriptors from children: %w", err))
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		errs = append(errs, fmt.Errorf("make the process non-dumpable: %w", err))
	}
	// Linux keeps this per thread. A binary with cgo cannot set it for all threads; there only children of this thread inherit it.
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
