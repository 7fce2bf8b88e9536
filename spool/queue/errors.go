package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/memfault"
)

// Errors of this package.
var (
	// ErrDamaged means that a file, or a batch in it, no longer has the content that was written.
	ErrDamaged = errors.New("damaged queue file")
	// ErrFull means that the disk or the queue is full; the file has not changed.
	ErrFull = errors.New("no room for the queue")
	// ErrNewer means that a newer wayside wrote the file. It must not be touched.
	ErrNewer = errors.New("written by a newer wayside; start that version again to continue with this folder")

	errStuck = errors.New("queue file is stuck after a fault")
)

// fullError wraps ErrFull around the errors that a full disk or queue causes. These leave the file unchanged.
func fullError(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

func isFull(err error) bool {
	if errors.Is(err, berrors.ErrMaxSizeReached) {
		return true
	}
	var path *fs.PathError
	if errors.As(err, &path) && path.Op == "write" {
		return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
	}
	if err == nil || !strings.HasPrefix(err.Error(), "file resize error") {
		return false
	}
	for _, errno := range []syscall.Errno{unix.ENOSPC, unix.EDQUOT, unix.EFBIG} {
		if strings.HasSuffix(err.Error(), errno.Error()) { // bbolt does not wrap errno here
			return true
		}
	}
	return false
}

// damageError wraps ErrDamaged around the errors that bbolt returns for a damaged file.
func damageError(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrDamaged):
		return err
	case errors.Is(err, memfault.ErrPanic), errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch),
		errors.Is(err, berrors.ErrChecksum), strings.Contains(err.Error(), "file size too small"): // bbolt has no error value for this
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
