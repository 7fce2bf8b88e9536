package proxy

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAClientThatDoesNotReadCostsLittle writes to both kinds of connection while the other side reads nothing. Such a connection costs as many bytes as
// the kernel buffers: without a limit, that is megabytes.
func TestAClientThatDoesNotReadCostsLittle(t *testing.T) {
	const most = 512 << 10
	small := func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10) })
	}
	taken := func(what string, conn net.Conn) {
		t.Helper()
		_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second)) // ends the write; on a slow machine, less is buffered, not more
		n, err := conn.Write(make([]byte, 32<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n > most {
			t.Errorf("%s: %d bytes were taken (%v), at most %d may be", what, n, err, most)
		}
	}

	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	client, err := (&net.Dialer{Control: small}).Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = accepted.Close() }()
	taken("to a client", accepted)

	origin, err := (&net.ListenConfig{Control: small}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = origin.Close() }()
	p, err := New(Options{Upstream: "http://" + origin.Addr().String(), Recorder: &encoder{}})
	if err != nil {
		t.Fatal(err)
	}
	upstream, err := p.onlyServer().pool.target.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = upstream.Close() }()
	taken("to the upstream", upstream)
}
