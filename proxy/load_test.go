package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// mixedOrigin echoes the nonce of each path, in one of several kinds of response.
func mixedOrigin(conn net.Conn, br *bufio.Reader) {
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		nonce := req.URL.Path
		n, _ := strconv.Atoi(nonce[1:])
		var out string
		switch kind := n % 8; {
		case req.Method == http.MethodHead:
			out = fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Nonce: %s\r\nContent-Length: 1000\r\n\r\n", nonce)
		case kind == 1:
			out = fmt.Sprintf("HTTP/1.1 204 No Content\r\nX-Nonce: %s\r\n\r\n", nonce)
		case kind == 2:
			out = fmt.Sprintf("HTTP/1.1 304 Not Modified\r\nX-Nonce: %s\r\nContent-Length: 5\r\n\r\n", nonce)
		case kind == 3:
			out = fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Nonce: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", nonce, len(nonce), nonce)
		case kind == 4: // streamed: 100,000 bytes that repeat the nonce
			text := strings.Repeat(nonce+" ", 100000/(len(nonce)+1)+1)[:100000]
			out = fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Nonce: %s\r\nContent-Length: 100000\r\n\r\n%s", nonce, text)
		case kind == 5: // closes the connection
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nX-Nonce: %s\r\n\r\n%s", nonce, nonce)
			return
		case kind == 6 && len(body) == 0: // cut short
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nX-Nonce: %s\r\nContent-Length: 100\r\n\r\n%s", nonce, nonce)
			return
		default:
			text := nonce + string(body)
			out = fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Nonce: %s\r\nContent-Length: %d\r\n\r\n%s", nonce, len(text), text)
		}
		if _, err := io.WriteString(conn, out); err != nil {
			return
		}
	}
}

// TestMixedLoad: every client receives the response to its own request. N requests cause exactly N events, each with its own path.
func TestMixedLoad(t *testing.T) {
	const clients, each = 16, 250
	b := start(t, rawOrigin(t, mixedOrigin), nil)
	b.responses = clients * each
	var wg sync.WaitGroup
	for k := range clients {
		c := b.dial()
		wg.Go(func() {
			for i := range each {
				if !mixedRequest(t, c, k*each+i) {
					return
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for _, e := range b.books.all() {
		seen[string(e.Path)]++
		if want, _ := strconv.Atoi(string(e.Path[1:])); e.Status == 502 && (want%8 != 6) {
			t.Errorf("%+v", e)
		}
	}
	for n := range clients * each {
		if seen[fmt.Sprintf("/%d", n)] != 1 {
			t.Errorf("nonce %d recorded %d times", n, seen[fmt.Sprintf("/%d", n)])
		}
	}
}

func mixedRequest(t *testing.T, c *client, n int) bool {
	method, body := "GET", ""
	switch n % 7 {
	case 1:
		method = "HEAD"
	case 2:
		method, body = "POST", strings.Repeat("p", n%20000)
	}
	request := fmt.Sprintf("%s /%d?q=%d HTTP/1.1\r\nHost: a\r\n", method, n, n)
	if body != "" {
		request += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	if _, err := io.WriteString(c.conn, request+"\r\n"+body); err != nil {
		t.Error(err)
		return false
	}
	resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		t.Errorf("%d: %v", n, err)
		return false
	}
	got, err := io.ReadAll(resp.Body)
	nonce := fmt.Sprintf("/%d", n)
	switch {
	case err != nil:
		t.Errorf("%d: %v", n, err)
	case resp.StatusCode == 502 && n%8 == 6:
	case resp.Header.Get("X-Nonce") != nonce:
		t.Errorf("%d got the response of %s: %s", n, resp.Header.Get("X-Nonce"), resp.Status)
	case len(got) > 0 && !strings.HasPrefix(string(got), nonce):
		t.Errorf("%d got the body %.40q", n, got)
	}
	return err == nil && !resp.Close
}

// TestPlainRequestDoesNotAllocate: a plain request allocates nothing, and neither does its event.
func TestPlainRequestDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	url := canned(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello")
	p, err := New(Options{Upstream: url, Recorder: &encoder{}})
	if err != nil {
		t.Fatal(err)
	}
	pool := p.onlyServer().pool
	defer pool.close()
	taker := rawOrigin(t, func(_ net.Conn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) })
	sink, err := net.Dial("tcp", taker[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sink.Close() }()
	c := newClientConn(p.current.Load(), sink, goroutines{}, listenerPlain)
	c.br = bufio.NewReader(c)
	c.x = newExchange()
	c.x.attach(c)
	x := c.x
	once := func() {
		x.begin()
		x.req.Raw = append(x.req.Raw, plainRequest...)
		x.serve()
		if !x.ev.recorded || x.reply.closeAfter || x.ev.Status != 200 {
			t.Fatal(x.ev.recorded, x.reply.closeAfter, x.ev.Status)
		}
	}
	once()
	// The canned origin runs in this process and allocates a few strings for each request. These are measured separately.
	base := testing.AllocsPerRun(200, func() {
		conn := pool.idle[0][0]
		_, _ = conn.Conn.Write(x.out)
		_, _ = conn.br.Peek(1)
		_, _ = conn.br.Discard(conn.br.Buffered())
	})
	if got := testing.AllocsPerRun(200, once); got > base {
		t.Errorf("%v allocations, of which the origin makes %v", got, base)
	}
}
