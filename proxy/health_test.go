package proxy

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy/http1"
)

// TestUpstreamTroubleIsLogged: that an upstream cannot be reached is logged once, with the reason and the request ID of the 502. That it
// can be reached again is logged once, too.
func TestUpstreamTroubleIsLogged(t *testing.T) {
	t.Parallel() // takes long, because there is at most one log line in ten seconds
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	b := start(t, "http://"+address, nil)
	b.responses = -1
	c := b.dial()
	for range 20 {
		resp, _ := c.get("/x")
		if resp.StatusCode != 502 {
			t.Fatal(resp.Status)
		}
	}
	until(t, "the failure is logged", func() bool { return strings.Contains(b.log.String(), "error_type=connect_refused") })
	first := b.books.all()[0]
	if log := b.log.String(); strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, "connection refused") || !strings.Contains(log, "upstream="+address) ||
		!strings.Contains(log, "request_id="+string(first.RequestID)) || len(first.RequestID) != 36 {
		t.Error(log)
	}
	if ln, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	if resp, _ := c.get("/x"); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	until(t, "the recovery is logged", func() bool { return strings.Contains(b.log.String(), "the upstream responds again") })
	if log := b.log.String(); strings.Count(log, "level=") != 2 || !strings.Contains(log, "failures=20 after=") {
		t.Error(log)
	}
}

func TestUpstreamTroubleHasAReason(t *testing.T) {
	for name, c := range map[string]struct{ upstream, kind, reason string }{
		"name":     {"http://no-such-host.invalid:80", "dns_error", "no-such-host.invalid"},
		"protocol": {canned(t, "SSH-2.0-OpenSSH\r\n\r\n"), "protocol_error", "status line"},
		"socket":   {"unix:///no/such/socket", "connect_error", "no such file"},
	} {
		b := start(t, c.upstream, nil)
		b.responses = 1
		if resp, _ := b.dial().get("/"); resp.StatusCode != 502 {
			t.Error(name, resp.Status)
		}
		until(t, name+" is logged", func() bool { return strings.Contains(b.log.String(), "error_type="+c.kind) })
		if !strings.Contains(b.log.String(), c.reason) {
			t.Error(name, b.log.String())
		}
	}
}

// TestRequestIDIsRecorded: events of the proxy's own responses contain the request ID that the client sees. Others contain it only with
// Options.RequestID.
func TestRequestIDIsRecorded(t *testing.T) {
	requests := map[string]bool{ // whether the proxy itself makes the response
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n":                        false,
		"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n":                       false,
		"GET / HTTP/1.1\r\n\r\n":                                                        true,
		"nonsense\r\n\r\n":                                                              true,
		"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n":                                     true,
		"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n": true,
	}
	for _, all := range []bool{false, true} {
		b := start(t, echoHead(t), func(o *Options) { o.RequestID = all })
		for request, own := range requests {
			got := b.ask(request)
			_, id, _ := strings.Cut(got, "\r\nX-Request-ID: ")
			id, _, _ = strings.Cut(id, "\r\n")
			e := b.books.wait(t, b.responses)[b.responses-1]
			if own || all {
				if len(id) != 36 || string(e.RequestID) != id {
					t.Errorf("%q: %q recorded as %q", request, id, e.RequestID)
				}
			} else if len(e.RequestID) != 0 {
				t.Errorf("%q: recorded unasked", request)
			}
		}
	}
	if event.RequestIDBytesMax < http1.RequestIDBytesMax {
		t.Error("a trusted proxy's id would be cut, and not be found")
	}
}

// TestUpstreamTroubleShows: UpstreamFailure reports an upstream that Reach could not connect to, until a request succeeds.
func TestUpstreamTroubleShows(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	b := start(t, "http://"+address, nil)
	b.responses = -1
	if reason, _ := b.p.UpstreamFailure(); reason != "" {
		t.Errorf("before anything was tried: %s", reason)
	}
	if err := b.p.Reach(t.Context()); err == nil {
		t.Error("reached")
	}
	reason, since := b.p.UpstreamFailure()
	if !strings.Contains(reason, "connection refused") || since.IsZero() {
		t.Errorf("%q, %v", reason, since)
	}
	c := b.dial()
	if resp, _ := c.get("/x"); resp.StatusCode != 502 {
		t.Fatal(resp.Status)
	}
	if _, still := b.p.UpstreamFailure(); !still.Equal(since) {
		t.Errorf("since %v, not %v", still, since)
	}
	if ln, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	if resp, _ := c.get("/x"); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	if reason, _ := b.p.UpstreamFailure(); reason != "" {
		t.Errorf("after a success: %s", reason)
	}
	if err := b.p.Reach(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTimeoutsNameTheirKey: if a time limit has passed, the log names its configuration key.
func TestTimeoutsNameTheirKey(t *testing.T) {
	for reason, answer := range map[string]string{
		"no response header within proxy.response_timeout (100ms)":                  "",
		"no response header within response_timeout of route slow (90ms)":           "",
		"no more of the response's body arrived within proxy.body_timeout (110ms)":  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
		"no more of the response's body arrived within proxy.body_timeout (110ms) ": "HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\nab",
		"not complete within proxy.total_timeout (50ms)":                            "HTTP",
	} {
		b := start(t, stalling(t, answer), func(o *Options) {
			switch { // make sure that no other limit passes first
			case strings.Contains(reason, "route slow"):
				o.Groups, o.Upstream = []Group{{Name: "g", Servers: []Server{{URL: o.Upstream}}}}, ""
				o.Routes = []Route{{Name: "slow", To: []RouteTarget{{"g", 1}}, ResponseTimeout: 90 * time.Millisecond}}
			case strings.Contains(reason, "response_timeout"):
				o.ResponseTimeout = 100 * time.Millisecond
			case strings.Contains(reason, "body_timeout"):
				o.BodyTimeout = 110 * time.Millisecond
			default:
				o.TotalTimeout = 50 * time.Millisecond
			}
		})
		b.responses = -1
		b.dial().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		until(t, reason+" is logged", func() bool { return strings.Contains(b.log.String(), strings.TrimSpace(reason)) })
	}
}

// stalling is an upstream that sends the given bytes and then nothing more.
func stalling(t *testing.T, answer string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			_, _ = io.WriteString(conn, answer)
		}
	}()
	return "http://" + ln.Addr().String()
}
