package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// h2Conns returns the connections of clients that speak HTTP/2.
func (p *Proxy) h2Conns() (all []*h2Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if c.h2 != nil {
			all = append(all, c.h2)
		}
	}
	return all
}

// TestPanicOnHTTP2ClientConn: a panic while frames are handled ends the connection and its streams, and nothing else.
func TestPanicOnHTTP2ClientConn(t *testing.T) {
	entered := make(chan struct{}, 2)
	b := start(t, origin(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}), nil)
	b.responses = 2
	c := b.dialH2()
	c.request(1, false, "POST", "/")
	c.ok(c.f.WriteData(1, false, []byte("a"))) // the header of a request without a length is sent with the first data
	c.request(3, true, "GET", "/")
	<-entered
	<-entered
	h := b.p.h2Conns()[0]
	h.mu.Lock()
	for st := range h.open {
		st.s.Value = nil
	}
	h.mu.Unlock()
	c.ok(c.f.WriteData(1, false, []byte("b")))
	for err := error(nil); err == nil; {
		_, err = c.f.ReadFrame()
	}
	b.books.wait(t, 2)
	until(t, "the connection is gone", func() bool { m := b.p.Metrics(); return m.ClientConns == 0 && m.HTTP2Streams == 0 })
	if !strings.Contains(b.log.String(), "panic on an HTTP/2 connection; closing it") {
		t.Error(b.log)
	}
}

// TestPanicOnHTTP2ServerConn: a panic while a server's frames are handled ends this connection, and its calls fail.
func TestPanicOnHTTP2ServerConn(t *testing.T) {
	entered, respond := make(chan struct{}), make(chan struct{})
	b := start(t, originH2(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			entered <- struct{}{}
			<-respond
		}
	}), nil)
	b.responses = 2
	c := b.dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na")
	<-entered
	for _, l := range b.p.onlyServer().pool.h2.all() {
		l.mu.Lock()
		for call := range l.open {
			call.s.Value = nil
		}
		l.mu.Unlock()
	}
	close(respond)
	if resp, _ := c.receive("POST"); resp.StatusCode != 502 {
		t.Error(resp)
	}
	if resp, _ := b.dial().get("/"); resp.StatusCode != 200 {
		t.Error(resp)
	}
	if !strings.Contains(b.log.String(), "panic on an HTTP/2 connection to a server; closing it") {
		t.Error(b.log)
	}
}
