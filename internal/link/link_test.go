package link

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// joined returns a Dialer and a Listener connected as a parent and its child are.
func joined(t *testing.T) (*Dialer, *Listener) {
	t.Helper()
	parent, file, err := Pair("control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = parent.Close() })
	fd, err := unix.Dup(int(file.Fd())) // as exec does for a child
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	child, err := Inherited(uintptr(fd), "control")
	if err != nil {
		t.Fatal(err)
	}
	dialer, err := NewDialer(parent)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := NewListener(child)
	if err != nil {
		t.Fatal(err)
	}
	return dialer, listener
}

func TestHTTPThroughPassedConnections(t *testing.T) {
	dialer, listener := joined(t)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path)
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()

	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	for _, path := range []string{"/one", "/two", "/three"} {
		resp, err := client.Get("http://collect" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != path {
			t.Errorf("%s: %q, %v", path, body, err)
		}
	}
	_ = server.Close()
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("server ended with %v", err)
	}
}

func TestAcceptEndsWithTheDialler(t *testing.T) {
	dialer, listener := joined(t)
	_ = dialer.control.Close()
	if conn, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepted %v, %v after the peer left", conn, err)
	}
}

func TestDialAfterTheListenerLeft(t *testing.T) {
	dialer, listener := joined(t)
	_ = listener.Close()
	if conn, err := dialer.DialContext(context.Background(), "", ""); err == nil {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("a connection to nobody can be read")
		}
	}
}

func TestSocketInADeepDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 90), strings.Repeat("e", 90))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if ln, err = Listen(dir); err != nil { // the first listener left its file behind, as a killed process would
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	for _, want := range []Channel{Spool, Relay} {
		conn, err := Connect(dir, want)
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ReadChannel(accepted); err != nil || got != want {
			t.Errorf("channel %c, %v; want %c", got, err, want)
		}
		_, _ = conn.Close(), accepted.Close()
	}
	conn, err := Connect(dir, 'x')
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = accepted.Close() }()
	if _, err := ReadChannel(accepted); err == nil {
		t.Error("an unknown channel was accepted")
	}
}
