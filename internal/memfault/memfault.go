// Package memfault turns faults in mapped memory into errors. If a file is truncated while it is mapped, or its disk fails, accessing the
// memory raises SIGBUS. SIGBUS ends a Go process, unless the goroutine has requested a panic instead (debug.SetPanicOnFault).
package memfault

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrPanic is wrapped by the error that is returned for a panic or a memory fault.
var ErrPanic = errors.New("panic")

// Catch runs fn. A panic or a memory fault in this goroutine becomes an error that wraps [ErrPanic].
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

// CatchError is like [Catch], for a function that returns an error.
func CatchError(fn func() error) (err error) {
	if p := Catch(func() { err = fn() }); p != nil {
		return p
	}
	return err
}
