package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// TestSlowClientIsNotASlowService: the time that a client takes to send its request does not count as the service's time.
func TestSlowClientIsNotASlowService(t *testing.T) {
	const pause = 300 * time.Millisecond
	b := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body[len(body)-4:])
	}), func(o *Options) { o.BodyTimeout = 2 * time.Second / 5 }) // makes the tick short
	large := strings.Repeat("x", bufferedBodyBytesMax)
	for _, pieces := range [][2]string{
		{"POST / HTTP/1.1\r\nHost", ": a\r\nContent-Length: 4\r\n\r\nbody"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nb", "ody"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65540\r\n\r\n", large + "body"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65540\r\n\r\n" + large, "body"},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n", "body\r\n0\r\n\r\n"},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n", "0\r\n\r\n"},
	} {
		c := b.dial()
		began := time.Now()
		c.send(pieces[0])
		b.pass(pause)
		c.send(pieces[1])
		if resp, body := c.receive("POST"); resp.StatusCode != 200 || body != "body" {
			t.Fatal(resp, body)
		}
		b.responses++
		e := b.books.wait(t, b.responses)[b.responses-1]
		most := micros(time.Since(began)) // however slow the service is, the pause must not be counted in both times
		if e.RequestMicros < micros(pause) || e.RequestMicros+e.DurationMicros > most || e.TTFBMicros > e.DurationMicros {
			t.Errorf("%.60q: %d µs to send, %d and %d at the service", pieces[0], e.RequestMicros, e.TTFBMicros, e.DurationMicros)
		}
	}
}

// TestTimesOfUnfinishedUploads: if the service responds before it has received the whole body, its time begins with the request's
// header. If the body never arrives completely, none of the time counts as the service's.
func TestTimesOfUnfinishedUploads(t *testing.T) {
	b := start(t, rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		if strings.HasPrefix(readRequest(br), "POST /refuse ") {
			time.Sleep(20 * time.Millisecond) //nolint:forbidigo // this is the service's time
			_, _ = io.WriteString(conn, "HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
		_, _ = io.Copy(io.Discard, br)
	}), func(o *Options) { o.ReadTimeout = 300 * time.Millisecond })
	b.responses = 2
	for i, path := range []string{"/refuse", "/wait"} {
		c := b.dial()
		c.send("POST " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
		c.receive("POST")
		e := b.books.wait(t, i+1)[i]
		switch {
		case path == "/refuse" && (e.Status != 413 || e.DurationMicros < 20_000):
			t.Errorf("%+v", e)
		// The timeout runs from the header, so the wait for a connection is a part of it.
		case path == "/wait" && (e.Status != 408 || e.DurationMicros != 0 || e.TTFBMicros != 0 || e.RequestMicros+e.WaitMicros < 300_000):
			t.Errorf("%+v", e)
		}
	}
}

// TestWaitForAConnection: the wait for a connection does not count as the service's time, either.
func TestWaitForAConnection(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	b := start(t, origin(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			entered <- struct{}{}
			<-release
		}
	}), func(o *Options) { o.MaxConnsPerUpstream, o.MaxConnWait = 1, 20*time.Second })
	b.responses = 3
	hold := func() *client {
		c := b.dial()
		c.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
		<-entered
		return c
	}
	queued := func() bool {
		pool := b.p.onlyServer().pool
		pool.mu.Lock()
		defer pool.mu.Unlock()
		return len(pool.waiters) > 0
	}
	first := hold()
	second, began := b.dial(), time.Now()
	second.send("GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
	until(t, "the second one waits", queued)
	b.pass(300 * time.Millisecond)
	release <- struct{}{}
	first.receive("GET")
	second.receive("GET")
	most := micros(time.Since(began))
	for _, e := range b.books.wait(t, 2) {
		if string(e.Path) == "/second" && (e.WaitMicros < 300_000 || e.WaitMicros+e.DurationMicros > most) || e.RequestMicros != 0 {
			t.Errorf("%+v", e)
		}
	}

	o := b.p.current.Load().o
	o.MaxConnWait = 50 * time.Millisecond
	if err := b.p.Reload(o); err != nil {
		t.Fatal(err)
	}
	first = hold()
	if resp, _ := b.dial().get("/none"); resp.StatusCode != 503 {
		t.Error(resp)
	}
	if e := b.expect(2, 503, "pool_exhausted"); e.WaitMicros < 50_000 || e.DurationMicros != 0 {
		t.Errorf("%+v", e)
	}
	b.responses++
	release <- struct{}{}
	first.receive("GET")
}

// TestPlainRequestHasNoOtherTimes: a request that arrives in one piece and finds a free connection has neither a request time nor a
// wait, so its event stays small.
func TestPlainRequestHasNoOtherTimes(t *testing.T) {
	b := start(t, origin(t, echoBody), nil)
	c := b.dial()
	plain := func(e event.Event) bool { return e.RequestMicros == 0 && e.WaitMicros == 0 && e.DurationMicros > 0 }
	until(t, "a kept connection is used without a wait", func() bool {
		c.get(fmt.Sprintf("/%d", b.responses))
		b.responses++
		return plain(b.books.wait(t, b.responses)[b.responses-1])
	})
	if e := b.books.all()[0]; e.WaitMicros == 0 || e.RequestMicros != 0 {
		t.Errorf("the connection was dialled: %+v", e)
	}
}
