package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// harden gives up what the process does not need, see ADR 80: descriptors that whoever started it left open do not reach its children; no other
// process of the same user reads its memory or its environment, in which there may be keys; and nothing that it starts can gain
// privileges. What the kernel does not know is left out. It is called before anything is started.
func harden() error {
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

// What the books process takes from the environment: where S3 credentials are found, how S3 is reached, Go's own settings, and what the
// tests of faults set. The configuration reaches it over a pipe.
var (
	booksEnvPrefixes = []string{"AWS_", "MINIO_", "SSL_CERT_", "GO", "WAYSIDE_FAULT_"}
	booksEnvNames    = []string{"HOME", "PATH", "TMPDIR", "TZ", "ZONEINFO", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
)

// booksEnv is the part of an environment that the books process gets.
func booksEnv(environ []string) []string {
	out := []string{} // nil would be all of it
	for _, setting := range environ {
		name, _, _ := strings.Cut(setting, "=")
		if slices.Contains(booksEnvNames, name) || slices.ContainsFunc(booksEnvPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			out = append(out, setting)
		}
	}
	return out
}
