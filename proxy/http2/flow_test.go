package http2_test

import (
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/wayside-proxy/wayside/proxy/http2"
)

func TestSendWindow(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	p.raw(xhttp2.FrameSettings, 0, 0, "\x00\x04"+u32(3))
	p.headers(1, true, get...)
	p.expect(request1)
	s := p.streams[1]
	p.outcome()
	p.c.WriteHead(s, []byte("HTTP/1.1 200 OK\r\n\r\n"), false)
	body := []byte("abcdefgh")
	n := p.c.WriteData(s, body, true)
	p.expectOut("HEADERS 1 end=false :status=200", "DATA 1 3 end=false")
	if n != 3 || p.c.Window(s) != 0 || p.c.WriteData(s, body[n:], true) != 0 {
		t.Fatal("sent more than the window allows")
	}
	p.raw(xhttp2.FrameSettings, 0, 0, "\x00\x04"+u32(0)) // now the window is negative
	p.ok(p.f.WriteWindowUpdate(1, 2))
	p.expect("window 1")
	if p.c.Window(s) != 0 || p.c.WriteData(s, body[n:], true) != 0 {
		t.Fatal("a negative window allows nothing")
	}
	p.ok(p.f.WriteWindowUpdate(1, 100))
	p.expect("window 1")
	n += p.c.WriteData(s, body[n:], true)
	p.expectOut("SETTINGS ack=true", "DATA 1 5 end=true")
	if n != len(body) || !s.Ended() {
		t.Fatal(n)
	}
}

// TestSendWindowOfConnection: the connection's window limits all streams together, and a response without data needs no window.
func TestSendWindowOfConnection(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	p.raw(xhttp2.FrameSettings, 0, 0, "\x00\x04"+u32(1<<20))
	p.headers(1, true, get...)
	p.headers(3, true, get...)
	if _, err := p.feed(); err != nil {
		t.Fatal(err)
	}
	if n := p.c.WriteData(p.streams[1], make([]byte, 1<<20), false); n != 65535 {
		t.Fatal(n)
	}
	if n := p.c.WriteData(p.streams[3], []byte("x"), true); n != 0 || p.streams[3].Ended() {
		t.Fatal(n)
	}
	p.c.WriteData(p.streams[3], nil, true)
	if !p.streams[3].Ended() {
		t.Fatal("an empty DATA frame needs no window")
	}
	p.ok(p.f.WriteWindowUpdate(0, 10))
	p.expect("window")
	if n := p.c.WriteData(p.streams[1], make([]byte, 1<<20), false); n != 10 {
		t.Fatal(n)
	}
}

// TestReceiveWindow: windows are not reopened for data that has not been consumed. For consumed data and padding they are reopened in larger
// steps.
func TestReceiveWindow(t *testing.T) {
	p := newPeer(t, http2.Limits{ConnWindow: 65535 * 2})
	open(p)
	p.outcome()
	for range 2 {
		p.ok(p.f.WriteDataPadded(1, false, []byte(strings.Repeat("x", 16128)), make([]byte, 255)))
	}
	if _, err := p.feed(); err != nil {
		t.Fatal(err)
	}
	p.expectOut()
	s := p.streams[1]
	p.c.Consumed(s, 16128)
	p.expectOut()
	p.c.Consumed(s, 16128)
	p.expectOut("WINDOW_UPDATE 1 32768")
	p.ok(p.f.WriteDataPadded(1, false, nil, make([]byte, 255)))
	p.headers(3, false, post...)
	for range 3 {
		p.data(3, false, strings.Repeat("x", 16384))
	}
	if _, err := p.feed(); err != nil {
		t.Fatal(err)
	}
	p.expectOut()
	p.c.Release(p.streams[3], http2.CodeCancel) // its unconsumed bytes are given back to the connection's window
	p.expectOut("RST_STREAM 3 CANCEL", "WINDOW_UPDATE 0 82176")
}

// TestUnreadStreamDoesNotStopOthers: a stream whose data nobody reads takes only its own window away from other streams.
func TestUnreadStreamDoesNotStopOthers(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	open(p)
	for range 3 {
		p.data(1, false, strings.Repeat("x", 16384))
	}
	p.headers(3, false, post...)
	if _, err := p.feed(); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		p.data(3, false, strings.Repeat("x", 16000))
		if _, err := p.feed(); err != nil {
			t.Fatal(err)
		}
		p.c.Consumed(p.streams[3], 16000)
	}
}

// TestReleaseWithinFrame: if a stream is released in the middle of a DATA frame, the rest of the frame is discarded.
func TestReleaseWithinFrame(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	open(p)
	p.outcome()
	p.data(1, false, strings.Repeat("x", 10000))
	b := p.sent.Bytes()
	_, n, err := p.c.Next(b[:5000], 0)
	if err != nil || n != 5000 {
		t.Fatal(n, err)
	}
	p.c.Release(p.streams[1], http2.CodeCancel)
	if ev, more, err := p.c.Next(b[n:], 0); err != nil || ev.Kind != http2.EventNone || n+more != len(b) {
		t.Fatal(ev, more, err)
	}
	p.expectOut("RST_STREAM 1 CANCEL")
}
