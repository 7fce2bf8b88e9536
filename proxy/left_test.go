package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hungUp reports whether the kernel knows that a client has reset its connection.
func (b *bench) hungUp() bool {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	for c := range b.p.conns {
		fds := []unix.PollFd{{Fd: int32(c.watch.fd)}}
		if n, err := unix.Poll(fds, 0); n > 0 && err == nil && fds[0].Revents&unix.POLLHUP != 0 {
			return true
		}
	}
	return false
}

// TestResetBeforeTheAnswer: a client that resets its connection just before the response has not received it.
func TestResetBeforeTheAnswer(t *testing.T) {
	answers := map[string]string{
		"GET /buffered ": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"GET /empty ":    "HTTP/1.1 204 No Content\r\n\r\n",
		"GET /chunked ":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"GET /none ":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET /large ":    "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000),
	}
	entered, release := make(chan struct{}, 1), make(chan struct{})
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for {
			r := readRequest(br)
			if r == "" {
				return
			}
			entered <- struct{}{}
			<-release
			_, _ = io.WriteString(conn, answers[r[:strings.Index(r, "HTTP")]])
		}
	})
	b := start(t, url, nil)
	defer close(release)
	for request := range answers {
		c := b.dial()
		c.send(request + "HTTP/1.1\r\nHost: a\r\n\r\n")
		<-entered
		_ = c.tcp().SetLinger(0)
		_ = c.conn.Close()
		until(t, "the reset arrives", b.hungUp)
		release <- struct{}{}
		if e := b.expect(b.responses, 499, "client_closed"); e.ResponseBytes != 0 {
			t.Errorf("%s: %+v", request, e)
		}
		b.responses++
		until(t, "the connection is closed", func() bool { return !b.hungUp() })
	}
}

// TestWriteTimeoutHasItsOwnType: a client that stays connected but does not read has not left.
func TestWriteTimeoutHasItsOwnType(t *testing.T) {
	const total = 64 << 20
	b := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fixed" {
			w.Header().Set("Content-Length", "67108864")
		}
		_, _ = io.CopyN(w, zeros{}, total)
	}), func(o *Options) { o.WriteTimeout = 50 * time.Millisecond })
	b.responses = 2
	for i, path := range []string{"/fixed", "/chunked"} {
		c := b.dial()
		c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if e := b.expect(i, 499, "write_timeout"); e.ResponseBytes == 0 || e.ResponseBytes >= total {
			t.Errorf("%+v", e)
		}
	}
	if m := b.p.Metrics(); m.Failures["write_timeout"] != 2 || m.Failures["client_closed"] != 0 {
		t.Errorf("%+v", m.Failures)
	}
}

func TestWriteTimeoutOfATunnel(t *testing.T) {
	url := upgradeOrigin(t, func(conn *net.TCPConn, _ *bufio.Reader) { _, _ = io.CopyN(conn, zeros{}, 64<<20) })
	b := start(t, url, func(o *Options) { o.WriteTimeout = 50 * time.Millisecond })
	b.responses = 1
	b.dial().send(upgradeRequest)
	b.expect(0, 101, "write_timeout")
}
