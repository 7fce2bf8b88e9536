package proxy

import (
	"strings"
	"testing"
	"time"
)

func TestRedirect(t *testing.T) {
	b := start(t, echoHead(t), overTLSOptions(t, func(o *Options) {
		o.TLS.HSTS = time.Hour
		o.TLS.HTTPChallenge = func(token string) (string, bool) { return token + ".thumb", token == "known" }
	}))
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = b.p.ServeRedirect(ln) }()
	b.addr, b.tls = ln.Addr().String(), false
	requests := []struct{ request, location string }{
		{"GET /a%2Fb/..?x=1 HTTP/1.1\r\nHost: Example.org\r\n\r\n", "https://Example.org/a%2Fb/..?x=1"},
		{"GET //evil.example/ HTTP/1.1\r\nHost: a:80\r\n\r\n", "https://a//evil.example/"},
		{"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "https://[::1]/"},
		{"GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n", "https://b/c"},
		{"GET /.well-known/acme-challenge/unknown HTTP/1.1\r\nHost: a\r\n\r\n", "https://a/.well-known/acme-challenge/unknown"},
		{"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "https://a/p"},
		{"HEAD /h HTTP/1.0\r\nHost: a\r\n\r\n", "https://a/h"},
	}
	b.responses = len(requests) + 3
	for i, r := range requests {
		c := b.dial()
		c.send(r.request)
		resp, _ := c.receive(strings.Fields(r.request)[0])
		if resp.StatusCode != 308 || resp.Header.Get("Location") != r.location || resp.Header.Get("Strict-Transport-Security") != "" {
			t.Error(r.request, resp)
		}
		if e := b.books.wait(t, i+1)[i]; e.Status != 308 || len(e.Upstream) != 0 || len(e.ErrorType) != 0 {
			t.Errorf("%+v", e)
		}
		_ = c.conn.Close()
	}
	c := b.dial()
	if resp, body := c.get("/.well-known/acme-challenge/known"); resp.StatusCode != 200 || body != "known.thumb" {
		t.Error(resp, body)
	}
	c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") // there is no host to which the client could be redirected
	if resp, _ := c.receive("GET"); resp.StatusCode != 400 {
		t.Error(resp)
	}
	o := b.p.current.Load().o
	withPort := *o.TLS
	withPort.Port = 8443
	o.TLS = &withPort
	if err := b.p.Reload(o); err != nil {
		t.Fatal(err)
	}
	if resp, _ := b.dial().get("/x"); resp.Header.Get("Location") != "https://Example.COM:8443/x" {
		t.Error(resp)
	}
	o.TLS = nil
	if err := b.p.Reload(o); err == nil {
		t.Error("a reload switched TLS off")
	}
}
