package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unreadBody is a response body that fits into the kernel's send buffer but not into the receive buffer of dialSlow.
var unreadBody = strings.Repeat("0123456789abcdef", 60<<10/16)

// dialSlow connects with a small receive buffer.
func (b *bench) dialSlow() *client {
	b.t.Helper()
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<10) })
	}}
	conn, err := d.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	b.t.Cleanup(func() { _ = conn.Close() })
	return b.client(conn)
}

// answered waits until the proxy has written n responses.
func (b *bench) answered(n int) {
	b.t.Helper()
	b.books.wait(b.t, n)
	until(b.t, "the response is written", func() bool { return b.p.Metrics().InFlight == 0 })
}

// TestStrayBytesDoNotCostTheResponse: a client that has announced the end of its connection receives the whole response, even if more
// bytes from it arrive.
func TestStrayBytesDoNotCostTheResponse(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, unreadBody)
	})
	b := start(t, url, nil)
	for _, head := range []string{"POST / HTTP/1.0\r\n", "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"} {
		c := b.dialSlow()
		c.send(head + "Content-Length: 4\r\n\r\nbody")
		b.responses++
		b.answered(b.responses)
		c.send("\r\n")
		b.pass(lingerLook)
		if resp, body := c.receive("POST"); resp.StatusCode != 200 || body != unreadBody {
			t.Errorf("%q: %v, %d bytes", head, resp, len(body))
		}
		if rest, err := io.ReadAll(c.br); len(rest) > 0 || err != nil {
			t.Error(rest, err)
		}
		until(t, "the proxy closes the connection, although the client does not", func() bool { return b.p.Metrics().ClientConns == 0 })
	}
	if n := b.p.Metrics().Undelivered; n != 0 {
		t.Errorf("%d responses count as undelivered", n)
	}
}

// TestLateChunkDoesNotCostTheResponse: a client that continues with its body after an early response receives the whole response,
// however long it paused.
func TestLateChunkDoesNotCostTheResponse(t *testing.T) {
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		readRequest(br)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 61440\r\nConnection: close\r\n\r\n"+unreadBody)
		_, _ = io.Copy(io.Discard, br)
	})
	b := start(t, url, nil)
	b.responses = 1
	c := b.dialSlow()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
	b.answered(1)
	b.pass(1700 * time.Millisecond)
	c.send("1\r\nb\r\n")
	b.pass(lingerLook)
	c.send("0\r\n\r\n")
	if resp, body := c.receive("POST"); resp.StatusCode != 200 || body != unreadBody {
		t.Errorf("%v, %d bytes", resp, len(body))
	}
}

// TestRefusedUploadReceivesTheAnswer: a client that sends its whole body before it reads receives the response even if it was refused at
// once.
func TestRefusedUploadReceivesTheAnswer(t *testing.T) {
	refusing := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		readRequest(br)
		_, _ = io.WriteString(conn, "HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		_, _ = io.Copy(io.Discard, br)
	})
	small := start(t, refusing, func(o *Options) { o.MaxRequestBodyBytes = 1000 })
	var wg sync.WaitGroup
	for _, by := range []struct {
		b      *bench
		status int
	}{{start(t, refusing, nil), 413}, {small, 413}, {start(t, deadAddr(t), nil), 502}} {
		by.b.responses = 2
		for _, framing := range []string{"Content-Length: 640000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n9c400\r\n"} {
			c := by.b.dial()
			wg.Go(func() {
				_, err := io.WriteString(c.conn, "POST / HTTP/1.1\r\nHost: a\r\n"+framing)
				piece := make([]byte, 10000)
				for range 64 {
					time.Sleep(30 * time.Millisecond) //nolint:forbidigo // the client is slow
					if err == nil {
						_, err = c.conn.Write(piece)
					}
				}
				if framing[0] == 'T' && err == nil {
					_, err = io.WriteString(c.conn, "\r\n0\r\n\r\n")
				}
				if err != nil {
					t.Errorf("%d, %q: the client cannot send: %v", by.status, framing, err)
				}
				resp, err := http.ReadResponse(c.br, nil)
				if err != nil || resp.StatusCode != by.status {
					t.Errorf("%d, %q: %v, %v", by.status, framing, resp, err)
					return
				}
				if body, err := io.ReadAll(resp.Body); err != nil || len(body) == 0 {
					t.Error(body, err)
				}
			})
		}
	}
	wg.Wait()
}

// TestUndeliveredResponseIsCounted: if a client resets its connection after a response has been written and before it has acknowledged
// all of it, the response counts as undelivered.
func TestUndeliveredResponseIsCounted(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, unreadBody) })
	b := start(t, url, func(o *Options) { o.WriteTimeout = 200 * time.Millisecond })
	b.responses = 3
	reset := b.dialSlow()
	reset.send("GET / HTTP/1.0\r\n\r\n")
	b.answered(1)
	_ = reset.tcp().SetLinger(0)
	_ = reset.tcp().Close()
	until(t, "it is counted", func() bool { return b.p.Metrics().Undelivered == 1 })

	silent := b.dialSlow()
	silent.send("GET / HTTP/1.0\r\n\r\n")
	until(t, "it is counted", func() bool { return b.p.Metrics().Undelivered == 2 })
	if body, err := io.ReadAll(silent.br); err == nil {
		t.Errorf("the client cannot tell that its response is incomplete: %d bytes", len(body))
	}
	for _, e := range b.books.wait(t, 2) {
		if e.Status != 200 || len(e.ErrorType) > 0 {
			t.Errorf("%+v", e)
		}
	}
	c := b.dial()
	c.send("GET / HTTP/1.0\r\n\r\n")
	if raw, err := io.ReadAll(c.br); err != nil || !bytes.HasSuffix(raw, []byte(unreadBody)) {
		t.Error(len(raw), err)
	}
	until(t, "the connection is closed", func() bool { return b.p.Metrics().ClientConns == 0 })
	if n := b.p.Metrics().Undelivered; n != 2 {
		t.Errorf("%d responses count as undelivered", n)
	}
}
