package store

import (
	"errors"
	"io"
	"testing"

	"github.com/wayside-proxy/wayside/internal/memfault"
)

// TestGuarded: an error is returned as it is, and a panic over damaged data becomes an error.
func TestGuarded(t *testing.T) {
	if err := guarded(func() error { return io.ErrUnexpectedEOF })(); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	if err := guarded(func() error { panic("a damaged page") })(); !errors.Is(err, ErrUnavailable) || !errors.Is(err, memfault.ErrPanic) {
		t.Error(err)
	}
}
