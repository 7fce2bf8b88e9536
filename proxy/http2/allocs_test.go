package http2_test

import (
	"testing"

	"github.com/wayside-proxy/wayside/proxy/http2"
)

// TestRepeatedRequestAllocatesNothing: a client that repeats its fields costs no allocations once they are in the compression tables.
func TestRepeatedRequestAllocatesNothing(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	var spare []byte
	id := uint32(1)
	head, body := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n"), []byte("hello")
	round := func() {
		p.headers(id, true, ":method", "GET", ":scheme", "http", ":path", "/path", ":authority", "example.org", "user-agent", "curl/8", "accept", "*/*")
		b := p.sent.Bytes()
		ev, n, err := p.c.Next(b, 0)
		if err != nil || n != len(b) || ev.Kind != http2.EventRequest {
			t.Fatal(ev, n, err)
		}
		p.sent.Reset()
		p.c.WriteHead(ev.Stream, head, false)
		p.c.WriteData(ev.Stream, body, true)
		p.c.Release(ev.Stream, http2.CodeInternal)
		spare = p.c.TakeOutput(spare)
		id += 2
	}
	round()
	if n := testing.AllocsPerRun(100, round); n > 0 {
		t.Fatalf("%v allocations for a request", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	p := newPeer(b, http2.Limits{})
	fields := with(get, "user-agent", "curl/8", "accept", "*/*", "cookie", "session=0123456789abcdef")
	var spare []byte
	head, body := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\nServer: x\r\nDate: Sun, 29 Nov 2026 17:00:00 GMT\r\n\r\n"), make([]byte, 128)
	id := uint32(1)
	b.ReportAllocs()
	for b.Loop() {
		p.headers(id, true, fields...) // the client's own allocations are included
		ev, _, err := p.c.Next(p.sent.Bytes(), 0)
		if err != nil {
			b.Fatal(err)
		}
		p.sent.Reset()
		p.c.WriteHead(ev.Stream, head, false)
		p.c.WriteData(ev.Stream, body, true)
		p.c.Release(ev.Stream, http2.CodeInternal)
		spare = p.c.TakeOutput(spare)
		id += 2
	}
}
