package store

import "fmt"

// AtOnce calls both functions at a time, where there are processors for it, and returns the first one's error or else the second's. The
// second has a goroutine of its own; a panic in it, as reading a damaged file may cause, wraps [ErrUnavailable] and ends nothing.
func AtOnce(first, second func() error) error {
	done := make(chan error, 1)
	go func() { done <- guarded(second) }()
	err := first()
	if other := <-done; err == nil {
		err = other
	}
	return err
}

func guarded(fn func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: query: %v", ErrUnavailable, cause)
		}
	}()
	return fn()
}
