package http2_test

import (
	"bytes"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/http2"
)

// FuzzServerFrames checks that the client side either understands what a server sends or ends the connection, that it makes no difference where
// the input is split, and that every header that is reported obeys the rules of HTTP/1.1.
func FuzzServerFrames(f *testing.F) {
	add := func(send func(r *remote)) {
		r := newRemote(f, http2.Limits{})
		r.ok(r.f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 7}))
		send(r)
		f.Add(bytes.Clone(r.sent.Bytes()), 3)
	}
	add(func(r *remote) {
		r.headers(1, false, ":status", "200", "content-length", "5")
		r.data(1, true, "hello")
	})
	add(func(r *remote) {
		r.headers(1, false, ":status", "103", "link", "x")
		r.headers(1, false, ":status", "200", "content-type", "application/grpc")
		r.data(1, false, "hello")
		r.headers(1, true, "grpc-status", "0")
	})
	add(func(r *remote) {
		r.headers(5, false, ":status", "200", "content-length", "1")
		r.data(5, false, "frames of a WebSocket")
		r.headers(1, true, ":status", "200")
		r.data(5, true, "the last one")
	})
	add(func(r *remote) {
		r.headers(5, false, ":status", "403", "content-length", "2")
		r.data(5, false, "no")
		r.headers(5, true, "sum", "1")
	})
	add(func(r *remote) {
		r.ok(r.f.WriteGoAway(1, xhttp2.ErrCodeNo, nil))
		r.ok(r.f.WriteRSTStream(3, xhttp2.ErrCodeRefusedStream))
		r.ok(r.f.WritePing(true, [8]byte{}))
		r.headers(1, true, ":status", "204")
	})
	f.Fuzz(func(t *testing.T, input []byte, size int) {
		log, out := runClient(t, input, whole)
		log2, out2 := runClient(t, input, func() int { return size % 64 })
		if log != log2 || !sameFrames(t, out, out2) {
			t.Fatalf("split differently:\n%s\n%s\n%x\n%x", log, log2, out, out2)
		}
	})
}

// runClient opens two streams and a WebSocket, and feeds the server's bytes in pieces.
func runClient(t testing.TB, input []byte, pieces func() int) (log string, out []byte) {
	c := http2.NewClient(http2.Limits{})
	out = c.TakeOutput(nil)[len(http2.Preface):]
	open := map[*http2.Stream]bool{}
	for _, end := range []bool{true, false} {
		open[c.WriteRequest([]byte(plainHead), "http", end)] = true
	}
	open[c.WriteUpgrade([]byte(upgradeHead), "http")] = true
	for b := []byte(nil); len(input) > 0; {
		n := min(max(pieces(), 1), len(input))
		b, input = append(b, input[:n]...), input[n:]
		for {
			ev, n, err := c.Next(b, 0)
			b = b[n:]
			if err != nil {
				return log + err.Error(), append(out, c.TakeOutput(nil)...)
			}
			if ev.Kind == http2.EventNone {
				break
			}
			log += takeClientEvent(t, c, open, ev)
		}
	}
	return log, append(out, c.TakeOutput(nil)...)
}

func takeClientEvent(t testing.TB, c *http2.Conn, open map[*http2.Stream]bool, ev http2.Event) string {
	if ev.Stream != nil && !open[ev.Stream] {
		t.Fatalf("an event of a stream that is not open: %s", describeClient(ev))
	}
	line := describeClient(ev) + "\n"
	switch ev.Kind {
	case http2.EventResponse:
		var h http1.Response
		h.Reset()
		if _, err := h.Rewrite(nil, ev.Stream.Head); err != nil && !strings.HasPrefix(string(ev.Stream.Head[9:]), "204") {
			t.Fatalf("%q: %v", ev.Stream.Head, err)
		}
	case http2.EventData:
		c.Consumed(ev.Stream, len(ev.Data))
		line = string(ev.Data) // the borders of pieces depend on the input's
	}
	if ev.End || ev.Kind == http2.EventReset {
		c.Release(ev.Stream, http2.CodeCancel)
		delete(open, ev.Stream)
	}
	return line
}
