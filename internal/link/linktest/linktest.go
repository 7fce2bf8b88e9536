// Package linktest simulates the process at the other end of a link, for tests that need responses that a real process cannot be made to
// send.
package linktest

import (
	"net/http"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/link"
)

// Serve uses handler for the requests that are sent over the returned dialer, until leave is called or the test ends.
func Serve(t testing.TB, handler http.Handler) (dialer *link.Dialer, leave func()) {
	t.Helper()
	mine, file, err := link.Pair("relay")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	theirs, err := link.Inherited(uintptr(fd), "relay")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := link.NewListener(theirs)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }()
	if dialer, err = link.NewDialer(mine); err != nil {
		t.Fatal(err)
	}
	leave = func() { _ = server.Close(); _ = mine.Close() }
	t.Cleanup(leave)
	return dialer, leave
}
