// Package memfault turns faults of mapped memory into errors. A file that was cut off while it is mapped, or a disk that
// fails, answers an access with SIGBUS, which ends a Go process unless the goroutine has asked for a panic instead.
package memfault

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrPanic is wrapped by the error that stands for a panic, that of a memory fault included.
var ErrPanic = errors.New("panic")

// Catch runs fn and returns a panic in it, in this goroutine only, as an error that wraps [ErrPanic].
func Catch(fn func()) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrPanic, p)
		}
		debug.SetPanicOnFault(old)
	}()
	fn()
	return nil
}

// CatchError is [Catch] for a function with an error of its own.
func CatchError(fn func() error) (err error) {
	if p := Catch(func() { err = fn() }); p != nil {
		return p
	}
	return err
}
