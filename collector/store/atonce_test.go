package store

import (
	"errors"
	"io"
	"testing"
)

func TestAtOnce(t *testing.T) {
	fine, fails := func() error { return nil }, func() error { return io.ErrUnexpectedEOF }
	if err := AtOnce(fine, fine); err != nil {
		t.Error(err)
	}
	for _, err := range []error{AtOnce(fails, fine), AtOnce(fine, fails)} {
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("one fails: %v", err)
		}
	}
	met := make(chan struct{}) // each waits for the other
	err := AtOnce(func() error { <-met; return nil }, func() error { met <- struct{}{}; panic("a damaged page") })
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("the second panics: %v", err)
	}
}
