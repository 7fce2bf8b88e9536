// Package process contains the steps that both wayside processes take before they begin their work: dropping privileges (harden.go),
// setting the CPU priority (nice.go), and determining how much memory and how many descriptors they may use (resources.go). The two
// processes themselves are in the subpackages traffic and books.
package process

import (
	"errors"
	"fmt"
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// Harden drops privileges that the process does not need (ADR 80). Afterwards, children do not inherit the descriptors that this process
// inherited from its parent; no other process of the same user can read the memory or the environment of this process, which may contain
// keys; and programs that this process starts cannot gain privileges. Steps that the kernel does not support are skipped. Call it before
// anything is started.
func Harden() error {
	var errs []error
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		errs = append(errs, fmt.Errorf("do not pass descriptors on to child processes: %w", err))
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		errs = append(errs, fmt.Errorf("make the process non-dumpable: %w", err))
	}
	// Linux keeps this setting per thread. A binary built with cgo cannot change it for all threads; in that case, only children of this
	// thread inherit it.
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
