package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestHeaderBeforeStreamedBody: the service receives the header of a streamed request before the body, so that it can refuse the body or
// send its response first.
func TestHeaderBeforeStreamedBody(t *testing.T) {
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		switch head := readRequest(br); {
		case head == "":
		case strings.HasPrefix(head, "PUT /refuse "):
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Too much\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		default:
			_, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
			body := make([]byte, 10)
			_, _ = io.ReadFull(br, body)
			_, _ = io.WriteString(conn, "4\r\n"+string(body[3:7])+"\r\n0\r\n\r\n")
		}
	})
	b := start(t, url, nil)
	b.responses = 4
	for _, framing := range []string{"Transfer-Encoding: chunked", "Content-Length: 100000"} {
		c := b.dial()
		c.send("PUT /refuse HTTP/1.1\r\nHost: a\r\n" + framing + "\r\n\r\n")
		if resp, body := c.receive("PUT"); resp.StatusCode != 413 || body != "no" || !resp.Close {
			t.Errorf("%s: %v, %q", framing, resp, body)
		}
	}
	body, unwritten := io.Pipe()
	r, _ := http.NewRequest(http.MethodPut, "http://"+b.addr+"/refuse", body)
	r.ContentLength = 100000
	if resp, err := b.h2().Do(r); err != nil || resp.StatusCode != 413 {
		t.Error("HTTP/2:", resp, err)
	} else {
		_ = resp.Body.Close()
	}
	_ = unwritten.Close()

	c := b.dial()
	c.send("PUT /talk HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil || resp.StatusCode != 103 {
		t.Fatal(resp, err)
	}
	if resp, err = http.ReadResponse(c.br, nil); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	hello := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, hello); err != nil || string(hello) != "hello" {
		t.Fatal(string(hello), err)
	}
	c.send("4\r\nbody\r\n0\r\n\r\n")
	if rest, err := io.ReadAll(resp.Body); string(rest) != "body" || err != nil {
		t.Error(string(rest), err)
	}
	_ = resp.Body.Close()
	until(t, "nothing counts as silent", func() bool { return b.p.silent.Load() == 0 })
}

// TestSilentUploadGivesWay: a client that sends only the header of a streamed request gets 408 if others need its connection to the
// service.
func TestSilentUploadGivesWay(t *testing.T) {
	url := origin(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	b := start(t, url, func(o *Options) { o.MaxConnsPerUpstream, o.MaxConnWait = 1, time.Minute })
	b.responses = 3
	silent := b.dial()
	silent.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	until(t, "it holds the connection", func() bool { return b.p.Metrics().UpstreamConns > 0 })
	if resp, _ := b.dial().get("/"); resp.StatusCode != 200 {
		t.Error(resp)
	}
	if resp, _ := silent.receive("POST"); resp.StatusCode != 408 || !resp.Close {
		t.Error(resp)
	}
	rest := b.dial() // a client that breaks off does not count as a failure of the service
	rest.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	_ = rest.conn.(interface{ CloseWrite() error }).CloseWrite()
	if resp, _ := rest.receive("POST"); resp.StatusCode != 400 {
		t.Error(resp)
	}
	b.expect(2, 499, "client_closed")
	if reason, _ := b.p.UpstreamFailure(); reason != "" {
		t.Error(reason)
	}
}

// silentUploads sends the headers of n streamed requests from the given number of addresses, and returns the connections when all headers have been
// received.
func (b *bench) silentUploads(n, addresses int) []*client {
	b.t.Helper()
	clients := make([]*client, n)
	for i := range clients {
		clients[i] = b.dialFrom(fmt.Sprintf("127.0.9.%d", 1+i%addresses))
		clients[i].br = bufio.NewReaderSize(clients[i].conn, 16)
		framing := "Transfer-Encoding: chunked"
		if i%2 == 0 {
			framing = "Content-Length: 70000"
		}
		clients[i].send("POST /silent HTTP/1.1\r\nHost: a\r\n" + framing + "\r\n\r\n")
	}
	until(b.t, "all have been received", func() bool { return b.p.Metrics().InFlight == int64(n) })
	return clients
}

// bodyLength responds with the length of the request's body.
func bodyLength(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	_, _ = fmt.Fprintf(w, "%d%v", n, err)
}

// memoryInUse returns the memory in use for the heap and for stacks.
func memoryInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// lateOrigin accepts connections, but begins to serve them with h only when release is closed. Before that, they use no memory that would be counted.
func lateOrigin(t *testing.T, release <-chan struct{}, h http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go func() {
		<-release
		_ = s.Serve(ln)
	}()
	t.Cleanup(func() { _ = s.Close() })
	return "http://" + ln.Addr().String() // until then, the kernel accepts the connections
}

// TestManySilentUploads: a thousand clients that declare a body and then stay silent use little memory and few connections to the
// service. They are served when they send their bodies.
func TestManySilentUploads(t *testing.T) {
	const clients, most = 1000, 16 << 20
	release := make(chan struct{})
	b := start(t, lateOrigin(t, release, bodyLength), nil)
	b.responses = clients + 1
	before := memoryInUse()
	all := b.silentUploads(clients, 100)
	until(t, "there are about as many as may be", func() bool {
		n := b.p.Metrics().UpstreamConns
		return n == b.p.silent.Load() && n > silentUploadsMax*3/4
	})
	if n := b.p.Metrics().UpstreamConns; n > silentUploadsMax {
		t.Errorf("%d connections to the service", n)
	}
	took := memoryInUse() - before
	t.Logf("%d clients take %d KiB", clients, took>>10)
	if took > most && !raceEnabled && !b.tls { // the race detector and TLS need more
		t.Errorf("more than %d KiB", most>>10)
	}
	close(release)
	if resp, body := b.dialFrom("127.0.0.3").get("/"); resp.StatusCode != 200 || body != "0<nil>" {
		t.Error(resp, body)
	}
	large := strings.Repeat("x", 70000)
	for i, c := range all {
		text, want := "5\r\nhello\r\n0\r\n\r\n", "5<nil>"
		if i%2 == 0 {
			text, want = large, "70000<nil>"
		}
		c.send(text)
		if resp, body := c.receive("POST"); resp.StatusCode != 200 || body != want {
			t.Fatal(i, resp, body)
		}
	}
	if n := b.p.silent.Load(); n != 0 {
		t.Errorf("%d count as silent", n)
	}
}

// TestSilentUploadsLeaveRoom: silent uploads leave half of the connections to the service free, and one address leaves some silent
// uploads to others.
func TestSilentUploadsLeaveRoom(t *testing.T) {
	for name, test := range map[string]struct{ clients, addresses, limit, most int }{
		"few connections": {40, 20, 10, 5},
		"one address":     {200, 1, 1000, silentUploadsMax * 60 / 100},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, origin(t, bodyLength), func(o *Options) { o.MaxConnsPerUpstream = test.limit })
			b.responses = test.clients + 2
			all := b.silentUploads(test.clients, test.addresses)
			until(t, "the silent ones are connected", func() bool {
				n := b.p.Metrics().UpstreamConns
				return n == b.p.silent.Load() && n > 0
			})
			if n := b.p.Metrics().UpstreamConns; n > int64(test.most) {
				t.Errorf("%d connections to the service", n)
			}
			if resp, _ := b.dialFrom("127.0.0.3").get("/"); resp.StatusCode != 200 {
				t.Error(resp)
			}
			c := b.dialFrom("127.0.0.4") // its request is sent on at once, or is served when its body arrives
			c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
			if resp, body := c.receive("POST"); resp.StatusCode != 200 || body != "1<nil>" {
				t.Error(resp, body)
			}
			if n := b.p.Metrics().Failures["gave_way"]; n != 0 {
				t.Errorf("%d gave way", n)
			}
			for _, c := range all {
				_ = c.conn.Close()
			}
			until(t, "nothing counts as silent", func() bool { return b.p.silent.Load() == 0 && b.p.Metrics().InFlight == 0 })
		})
	}
}
