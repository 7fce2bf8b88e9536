package http2_test

import (
	"encoding/binary"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/wayside-proxy/wayside/proxy/http2"
)

const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
)

// raw writes a frame, which may violate any rule.
func (p *peer) raw(kind xhttp2.FrameType, flags xhttp2.Flags, id uint32, payload string) {
	p.t.Helper()
	p.ok(p.f.WriteRawFrame(kind, flags, id, []byte(payload)))
}

const request1 = `request 1 "GET / HTTP/1.1\r\nhost: example.org\r\n\r\n" end=true err=<nil>`

const request1Open = `request 1 "POST / HTTP/1.1\r\nhost: example.org\r\ntransfer-encoding: chunked\r\n\r\n" end=false err=<nil>`

func u32(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// open opens stream 1 for a request with a body.
func open(p *peer) {
	p.t.Helper()
	p.headers(1, false, post...)
	p.expect(request1Open)
}

// closed opens stream 1 and ends it in both directions.
func closed(p *peer) {
	p.t.Helper()
	p.headers(1, true, get...)
	p.expect(request1)
	s := p.streams[1]
	p.c.WriteHead(s, []byte("HTTP/1.1 204 No Content\r\n\r\n"), true)
	p.c.Release(s, http2.CodeCancel)
	p.expectOut("HEADERS 1 end=true :status=204")
}

func TestConnectionErrors(t *testing.T) {
	for name, test := range map[string]struct {
		send func(p *peer)
		want http2.Code
	}{
		"frame too large":              {func(p *peer) { p.raw(xhttp2.FrameData, 0, 1, strings.Repeat("x", 16385)) }, http2.CodeFrameSize},
		"DATA on stream 0":             {func(p *peer) { p.raw(xhttp2.FrameData, 0, 0, "x") }, http2.CodeProtocol},
		"DATA on an idle stream":       {func(p *peer) { p.data(1, true, "x") }, http2.CodeProtocol},
		"DATA on an even stream":       {func(p *peer) { closed(p); p.data(2, true, "x") }, http2.CodeProtocol},
		"DATA, padding too long":       {func(p *peer) { open(p); p.raw(xhttp2.FrameData, flagPadded, 1, "\x05abcd") }, http2.CodeProtocol},
		"DATA padded and empty":        {func(p *peer) { open(p); p.raw(xhttp2.FrameData, flagPadded, 1, "") }, http2.CodeFrameSize},
		"HEADERS on stream 0":          {func(p *peer) { p.headers(0, true, get...) }, http2.CodeProtocol},
		"HEADERS on an even stream":    {func(p *peer) { p.headers(2, true, get...) }, http2.CodeProtocol},
		"HEADERS, lower number":        {func(p *peer) { p.headers(5, true, get...); p.headers(3, true, get...) }, http2.CodeProtocol},
		"HEADERS on a closed stream":   {func(p *peer) { closed(p); p.headers(1, true, get...) }, http2.CodeStreamClosed},
		"HEADERS behind a reset":       {func(p *peer) { open(p); p.ok(p.f.WriteRSTStream(1, 8)); p.headers(1, true, get...) }, http2.CodeStreamClosed},
		"HEADERS, padding too long":    {func(p *peer) { p.raw(xhttp2.FrameHeaders, flagPadded|flagEndHeaders, 1, "\x03ab") }, http2.CodeProtocol},
		"HEADERS padded and empty":     {func(p *peer) { p.raw(xhttp2.FrameHeaders, flagPadded|flagEndHeaders, 1, "") }, http2.CodeFrameSize},
		"bad field block":              {func(p *peer) { p.raw(xhttp2.FrameHeaders, flagEndHeaders, 1, "\x80") }, http2.CodeCompression},
		"field block cut":              {func(p *peer) { p.raw(xhttp2.FrameHeaders, flagEndHeaders, 1, "\x40\x05ab") }, http2.CodeCompression},
		"CONTINUATION alone":           {func(p *peer) { p.ok(p.f.WriteContinuation(1, true, nil)) }, http2.CodeProtocol},
		"CONTINUATION too late":        {func(p *peer) { p.headers(1, true, get...); p.ok(p.f.WriteContinuation(1, true, nil)) }, http2.CodeProtocol},
		"PING within a field block":    {func(p *peer) { p.raw(xhttp2.FrameHeaders, 0, 1, ""); p.ok(p.f.WritePing(false, [8]byte{})) }, http2.CodeProtocol},
		"unknown within a field block": {func(p *peer) { p.raw(xhttp2.FrameHeaders, 0, 1, ""); p.raw(0x42, 0, 1, "") }, http2.CodeProtocol},
		"CONTINUATION of another":      {func(p *peer) { p.raw(xhttp2.FrameHeaders, 0, 1, ""); p.ok(p.f.WriteContinuation(3, true, nil)) }, http2.CodeProtocol},
		"PRIORITY on stream 0":         {func(p *peer) { p.raw(xhttp2.FramePriority, 0, 0, "12345") }, http2.CodeProtocol},
		"PRIORITY, length":             {func(p *peer) { p.raw(xhttp2.FramePriority, 0, 1, "1234") }, http2.CodeFrameSize},
		"RST_STREAM on stream 0":       {func(p *peer) { p.raw(xhttp2.FrameRSTStream, 0, 0, "1234") }, http2.CodeProtocol},
		"RST_STREAM, length":           {func(p *peer) { open(p); p.raw(xhttp2.FrameRSTStream, 0, 1, "123") }, http2.CodeFrameSize},
		"RST_STREAM on an idle stream": {func(p *peer) { p.ok(p.f.WriteRSTStream(1, 8)) }, http2.CodeProtocol},
		"SETTINGS on a stream":         {func(p *peer) { p.raw(xhttp2.FrameSettings, 0, 1, "") }, http2.CodeProtocol},
		"SETTINGS, length":             {func(p *peer) { p.raw(xhttp2.FrameSettings, 0, 0, "12345") }, http2.CodeFrameSize},
		"SETTINGS, second cut":         {func(p *peer) { p.raw(xhttp2.FrameSettings, 0, 0, "\x00\x09123412345") }, http2.CodeFrameSize},
		"SETTINGS ack, length":         {func(p *peer) { p.raw(xhttp2.FrameSettings, flagAck, 0, "123456") }, http2.CodeFrameSize},
		"ENABLE_PUSH":                  {func(p *peer) { p.raw(xhttp2.FrameSettings, 0, 0, "\x00\x02"+u32(2)) }, http2.CodeProtocol},
		"INITIAL_WINDOW_SIZE":          {func(p *peer) { p.raw(xhttp2.FrameSettings, 0, 0, "\x00\x04"+u32(1<<31)) }, http2.CodeFlowControl},
		"MAX_FRAME_SIZE 0":             {func(p *peer) { p.raw(xhttp2.FrameSettings, 0, 0, "\x00\x05"+u32(0)) }, http2.CodeProtocol},
		"MAX_FRAME_SIZE too large":     {func(p *peer) { p.raw(xhttp2.FrameSettings, 0, 0, "\x00\x05"+u32(1<<24)) }, http2.CodeProtocol},
		"window beyond the limit by INITIAL_WINDOW_SIZE": {func(p *peer) {
			open(p)
			p.ok(p.f.WriteWindowUpdate(1, 1<<31-1-65535))
			p.raw(xhttp2.FrameSettings, 0, 0, "\x00\x04"+u32(65536))
		}, http2.CodeFlowControl},
		"PUSH_PROMISE":                    {func(p *peer) { p.raw(xhttp2.FramePushPromise, flagEndHeaders, 1, "1234") }, http2.CodeProtocol},
		"PING on a stream":                {func(p *peer) { p.raw(xhttp2.FramePing, 0, 1, "12345678") }, http2.CodeProtocol},
		"PING, length":                    {func(p *peer) { p.raw(xhttp2.FramePing, 0, 0, "1234567") }, http2.CodeFrameSize},
		"GOAWAY on a stream":              {func(p *peer) { p.raw(xhttp2.FrameGoAway, 0, 1, "12345678") }, http2.CodeProtocol},
		"GOAWAY, length":                  {func(p *peer) { p.raw(xhttp2.FrameGoAway, 0, 0, "1234567") }, http2.CodeFrameSize},
		"WINDOW_UPDATE, length":           {func(p *peer) { p.raw(xhttp2.FrameWindowUpdate, 0, 0, "123") }, http2.CodeFrameSize},
		"WINDOW_UPDATE by 0":              {func(p *peer) { p.raw(xhttp2.FrameWindowUpdate, 0, 0, u32(0)) }, http2.CodeProtocol},
		"WINDOW_UPDATE beyond the limit":  {func(p *peer) { p.ok(p.f.WriteWindowUpdate(0, 1<<31-1)) }, http2.CodeFlowControl},
		"WINDOW_UPDATE on an idle stream": {func(p *peer) { p.ok(p.f.WriteWindowUpdate(1, 1)) }, http2.CodeProtocol},
		"more DATA than the window of all": {func(p *peer) {
			for id := uint32(1); id <= 33; id += 2 {
				p.headers(id, false, post...)
				p.data(id, false, strings.Repeat("x", 16384))
				p.data(id, false, strings.Repeat("x", 16384))
				p.data(id, false, strings.Repeat("x", 16384))
				p.data(id, false, strings.Repeat("x", 16383))
			}
		}, http2.CodeFlowControl},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, http2.Limits{})
			test.send(p)
			p.fails(test.want, http2.LimitNone)
		})
	}
}

func TestStreamErrors(t *testing.T) {
	for name, test := range map[string]struct {
		send func(p *peer)
		want http2.Code
	}{
		"DATA behind the end":           {func(p *peer) { p.headers(1, true, get...); p.data(1, true, "x") }, http2.CodeStreamClosed},
		"HEADERS behind the end":        {func(p *peer) { p.headers(1, true, get...); p.headers(1, true, "a", "b") }, http2.CodeStreamClosed},
		"second HEADERS without an end": {func(p *peer) { p.headers(1, false, post...); p.headers(1, false, "a", "b") }, http2.CodeProtocol},
		"pseudo-field as trailer":       {func(p *peer) { p.headers(1, false, post...); p.headers(1, true, ":path", "/") }, http2.CodeProtocol},
		"connection as trailer":         {func(p *peer) { p.headers(1, false, post...); p.headers(1, true, "connection", "x") }, http2.CodeProtocol},
		"trailers too large": {func(p *peer) {
			p.headers(1, false, post...)
			p.headers(1, true, "a", strings.Repeat("b", 9000))
		}, http2.CodeEnhanceYourCalm},
		"less than declared": {func(p *peer) { p.headers(1, false, with(post, "content-length", "2")...); p.data(1, true, "x") }, http2.CodeProtocol},
		"more than declared": {func(p *peer) { p.headers(1, false, with(post, "content-length", "2")...); p.data(1, false, "xyz") }, http2.CodeProtocol},
		"less than declared, trailers": {func(p *peer) {
			p.headers(1, false, with(post, "content-length", "2")...)
			p.headers(1, true, "a", "b")
		}, http2.CodeProtocol},
		"more DATA than its window": {func(p *peer) {
			p.headers(1, false, post...)
			for range 4 {
				p.data(1, false, strings.Repeat("x", 16384))
			}
		}, http2.CodeFlowControl},
		"WINDOW_UPDATE by 0":             {func(p *peer) { p.headers(1, true, get...); p.raw(xhttp2.FrameWindowUpdate, 0, 1, u32(0)) }, http2.CodeProtocol},
		"WINDOW_UPDATE beyond the limit": {func(p *peer) { p.headers(1, true, get...); p.ok(p.f.WriteWindowUpdate(1, 1<<31-1)) }, http2.CodeFlowControl},
		"PRIORITY, length":               {func(p *peer) { p.headers(1, true, get...); p.raw(xhttp2.FramePriority, 0, 1, "1234") }, http2.CodeFrameSize},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, http2.Limits{})
			test.send(p)
			events, err := p.feed()
			if want := "reset 1 " + test.want.String(); err != nil || events[len(events)-1] != want {
				t.Fatalf("events %q, error %v; want %q last", events, err, want)
			}
			if out := strings.Join(p.outcome(), "\n"); !strings.HasSuffix(out, "RST_STREAM 1 "+test.want.String()) {
				t.Fatalf("put out:\n%s", out)
			}
			p.c.Release(p.streams[1], http2.CodeCancel)
			p.data(1, true, "under way") // the peer cannot know about the reset yet
			p.ok(p.f.WriteWindowUpdate(1, 1))
			p.ok(p.f.WriteRSTStream(1, 8))
			p.headers(3, true, get...)
			p.expect(strings.Replace(request1, "1", "3", 1))
			p.expectOut()
		})
	}
}

// TestDataOnClosedStream: frames for a stream that the peer has reset, or that has ended, are errors (RFC 9113, section 5.1).
func TestDataOnClosedStream(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	closed(p)
	p.data(1, false, "x")
	p.feedNone()
	p.expectOut("RST_STREAM 1 STREAM_CLOSED")
	p.headers(3, false, post...)
	p.ok(p.f.WriteRSTStream(3, 8))
	p.data(3, false, "x")
	if events, err := p.feed(); err != nil || events[len(events)-1] != "reset 3 CANCEL" {
		t.Fatalf("%q, %v", events, err)
	}
	p.expectOut("RST_STREAM 3 STREAM_CLOSED")
}

func TestPreface(t *testing.T) {
	for n := range len(http2.Preface) {
		p := newSilentPeer(t, http2.Limits{})
		p.sent.WriteString(http2.Preface[:n] + "\x00")
		p.fails(http2.CodeProtocol, http2.LimitNone)
	}
	p := newSilentPeer(t, http2.Limits{})
	p.sent.WriteString(http2.Preface)
	p.ok(p.f.WritePing(false, [8]byte{}))
	p.fails(http2.CodeProtocol, http2.LimitNone)
}

// TestPrefaceBegun: if the beginning of the preface has been read as HTTP/1.1, the connection continues after it.
func TestPrefaceBegun(t *testing.T) {
	c := http2.New(http2.Limits{}, len(http2.PrefaceHead))
	b := []byte(http2.Preface[len(http2.PrefaceHead):] + "\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	if ev, n, err := c.Next(b, 0); ev.Kind != http2.EventNone || n != len(b) || err != nil || !c.Idle() {
		t.Fatal(ev, n, err)
	}
}

func TestBodyAndTrailers(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	open(p)
	p.ok(p.f.WriteDataPadded(1, false, []byte("abc"), make([]byte, 7)))
	p.data(1, false, "de")
	p.raw(0x42, 0xff, 1, "unknown") // RFC 9113, section 5.5
	p.headers(1, true, "x-sum", "1")
	p.expect(`data 1 "abc" end=false`, `data 1 "de" end=false`, `trailers 1 "x-sum: 1\r\n"`)
	s := p.streams[1]
	if !s.Complete() {
		t.Fatal("not complete")
	}
	p.c.WriteHead(s, []byte("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), false)
	p.c.WriteHead(s, []byte("HTTP/1.1 201 Created\r\nX-A:  b \r\nConnection: close\r\nTransfer-Encoding: chunked\r\nServer: s\r\nKeep-Alive: 1\r\n\r\n"), false)
	if n := p.c.WriteData(s, []byte("hello"), false); n != 5 {
		t.Fatal(n)
	}
	p.c.WriteTrailers(s, []byte("Grpc-Status: 0\r\n"))
	p.c.Release(s, http2.CodeCancel)
	p.expectOut("HEADERS 1 end=false :status=103 link=</a>", "HEADERS 1 end=false :status=201 x-a=b server=s", "DATA 1 5 end=false",
		"HEADERS 1 end=true grpc-status=0")
	if p.c.Open() != 0 || !p.c.Idle() {
		t.Fatal("streams are left")
	}
}

// TestEndOfBody: the end of a body without trailers is reported with its last bytes, or separately.
func TestEndOfBody(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	open(p)
	p.data(1, false, "a")
	p.data(1, true, "")
	p.expect(`data 1 "a" end=false`, `data 1 "" end=true`)
	p.headers(3, false, post...)
	p.data(3, true, "a")
	p.ok(p.f.WriteWindowUpdate(3, 5))
	if events, err := p.feed(); err != nil || strings.Join(events[1:], "; ") != `data 3 "a" end=true; window 3` {
		t.Fatal(events, err)
	}
}

func TestAnswersBeforeTheEndOfTheRequest(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	open(p)
	s := p.streams[1]
	p.c.WriteHead(s, []byte("HTTP/1.1 200 OK\r\n\r\n"), true)
	p.c.Release(s, http2.CodeCancel)
	p.expectOut("HEADERS 1 end=true :status=200", "RST_STREAM 1 NO_ERROR") // RFC 9113, section 8.1
	p.data(1, false, "under way")
	p.headers(1, true, "a", "b") // trailers
	p.feedNone()
	p.expectOut()
}

func TestLongFieldBlock(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	p.headers(1, true, get...)
	p.expect(request1)
	value := strings.Repeat("\x01\x02", 20000/2)
	value = strings.ReplaceAll(value, "\x01\x02", "{}")
	p.c.WriteHead(p.streams[1], []byte("HTTP/1.1 200 OK\r\nx: "+value+"\r\n\r\n"), true)
	p.expectOut("HEADERS 1 end=true :status=200 x=" + value)
}

func TestGoAwayInTwoSteps(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	p.headers(1, true, get...)
	p.expect(request1)
	p.c.GoAway()
	p.c.GoAway()
	p.expectOut("GOAWAY 2147483647 NO_ERROR", `PING ack=false "goodbye!"`)
	p.headers(3, true, get...) // was in transit
	p.ok(p.f.WritePing(true, [8]byte([]byte("goodbye!"))))
	p.headers(5, true, get...)
	p.data(5, true, "x")
	p.expect(strings.Replace(request1, "1", "3", 1))
	p.expectOut("GOAWAY 3 NO_ERROR")
	if !p.c.Left() || p.c.Open() != 2 {
		t.Fatal(p.c.Left(), p.c.Open())
	}
	p.headers(7, true, with(get, "a", "b")...)
	p.feedNone()
	p.ok(p.f.WriteGoAway(0, 0, nil))
	p.expect("goaway")
	if !p.c.PeerLeft() {
		t.Fatal("the peer has left")
	}
}

// TestFramesAfterTheEnd: GOAWAY changes nothing for the streams that it includes. The frames of later ones are ignored.
func TestFramesAfterTheEnd(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	p.headers(1, true, get...)
	p.expect(request1)
	p.c.WriteHead(p.streams[1], []byte("HTTP/1.1 200 OK\r\n\r\n"), true)
	p.c.Release(p.streams[1], http2.CodeInternal)
	p.c.Leave()
	p.expectOut("HEADERS 1 end=true :status=200", "GOAWAY 1 NO_ERROR")
	p.headers(3, false, post...)
	p.data(3, true, "x")
	p.feedNone()
	p.expectOut()
	p.data(1, true, "x")
	p.feedNone()
	p.expectOut("RST_STREAM 1 STREAM_CLOSED")
	p.headers(1, true, "a", "b")
	p.fails(http2.CodeStreamClosed, http2.LimitNone)
}
