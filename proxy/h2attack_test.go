package proxy

import (
	"bytes"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http1"
	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// attack is a hostile connection. It writes frames until it has written all of them or the proxy has ended the connection; errors of writing
// are expected.
type attack struct {
	name string
	run  func(a *attacker)
	held bool // the proxy does not end the connection because of the frames, but because of the time
}

// attacker writes frames without regard to errors.
type attacker struct {
	*h2Client
	id uint32 // of the last request
}

func (a *attacker) raw(kind xhttp2.FrameType, flags xhttp2.Flags, id uint32, payload ...byte) {
	_ = a.f.WriteRawFrame(kind, flags, id, payload)
}

func (a *attacker) fields(pairs ...string) []byte {
	a.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = a.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return a.block.Bytes()
}

var attackRequest = []string{":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a"}

// next advances to the next stream.
func (a *attacker) next() {
	if a.id == 0 {
		a.id = 1
	} else {
		a.id += 2
	}
}

// open begins a request.
func (a *attacker) open(end bool, more ...string) uint32 {
	a.next()
	block := a.fields(append(append([]string{}, attackRequest...), more...)...)
	_ = a.f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: a.id, BlockFragment: block, EndStream: end, EndHeaders: true})
	return a.id
}

// connect asks for a WebSocket.
func (a *attacker) connect() uint32 {
	a.next()
	block := a.fields(":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/socket", ":authority", "a")
	_ = a.f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: a.id, BlockFragment: block, EndHeaders: true})
	return a.id
}

// often repeats something often enough to exceed every budget.
func often(f func(a *attacker)) func(a *attacker) {
	return func(a *attacker) {
		for range 4000 {
			f(a)
		}
	}
}

// early makes the proxy reset a stream, or resets it.
func early(f func(a *attacker, id uint32)) func(a *attacker) {
	return often(func(a *attacker) { f(a, a.open(false)) })
}

// unread is the attack that does not even read.
const unread = "responses that are not read"

// attacks returns the corpus.
func attacks() []attack {
	list := []attack{
		// Floods of frames that carry nothing.
		{"PING", often(func(a *attacker) { a.raw(xhttp2.FramePing, 0, 0, make([]byte, 8)...) }), false},
		{"PING ACK", often(func(a *attacker) { a.raw(xhttp2.FramePing, xhttp2.FlagPingAck, 0, make([]byte, 8)...) }), false},
		{"SETTINGS", often(func(a *attacker) { a.raw(xhttp2.FrameSettings, 0, 0) }), false},
		{"SETTINGS with values", often(func(a *attacker) { a.raw(xhttp2.FrameSettings, 0, 0, bytes.Repeat([]byte{0, 3, 0, 0, 0, 9}, 200)...) }), false},
		{"window size to and fro", often(func(a *attacker) { a.raw(xhttp2.FrameSettings, 0, 0, 0, 4, 0, 0, 0, 0, 0, 4, 0, 0, 255, 255) }), false},
		{"PRIORITY", often(func(a *attacker) { a.raw(xhttp2.FramePriority, 0, 1, 0, 0, 0, 0, 1) }), false},
		{"WINDOW_UPDATE", often(func(a *attacker) { a.raw(xhttp2.FrameWindowUpdate, 0, 0, 0, 0, 0, 1) }), false},
		{"WINDOW_UPDATE of a stream", func(a *attacker) {
			a.open(false)
			often(func(a *attacker) { a.raw(xhttp2.FrameWindowUpdate, 0, 1, 0, 0, 0, 1) })(a)
		}, false},
		{"GOAWAY", often(func(a *attacker) { a.raw(xhttp2.FrameGoAway, 0, 0, make([]byte, 8)...) }), false},
		{"empty DATA", func(a *attacker) { a.open(false); often(func(a *attacker) { a.raw(xhttp2.FrameData, 0, 1) })(a) }, false},
		{"padding only", func(a *attacker) {
			a.open(false)
			often(func(a *attacker) { a.raw(xhttp2.FrameData, xhttp2.FlagDataPadded, 1, 3, 0, 0, 0) })(a)
		}, false},
		{"unknown frames", often(func(a *attacker) { a.raw(0x77, 0, 0) }), false},
		{"unknown frames of a stream", often(func(a *attacker) { a.raw(0x78, 255, 1, 1, 2, 3) }), false},
		// Streams that end early.
		{"rapid reset", early(func(a *attacker, id uint32) { a.raw(xhttp2.FrameRSTStream, 0, id, 0, 0, 0, 8) }), false},
		{"made to reset: window 0", early(func(a *attacker, id uint32) { a.raw(xhttp2.FrameWindowUpdate, 0, id, 0, 0, 0, 0) }), false},
		{"made to reset: window too large", early(func(a *attacker, id uint32) { a.raw(xhttp2.FrameWindowUpdate, 0, id, 0x7f, 255, 255, 255) }), false},
		{"made to reset: PRIORITY", early(func(a *attacker, id uint32) { a.raw(xhttp2.FramePriority, 0, id, 0) }), false},
		{"made to reset: a second header", early(func(a *attacker, id uint32) {
			a.raw(xhttp2.FrameHeaders, xhttp2.FlagHeadersEndHeaders, id, a.fields("a", "b")...)
		}), false},
		{"made to reset: DATA behind the end", often(func(a *attacker) { a.raw(xhttp2.FrameData, 0, a.open(true), 1) }), false},
		{"made to reset: length", often(func(a *attacker) {
			a.raw(xhttp2.FrameData, xhttp2.FlagDataEndStream, a.open(false, "content-length", "7"), 1)
		}), false},
		{"resets of closed streams", func(a *attacker) {
			a.open(true)
			often(func(a *attacker) { a.raw(xhttp2.FrameRSTStream, 0, 1, 0, 0, 0, 8) })(a)
		}, false},
		{"more streams than allowed", often(func(a *attacker) { a.open(false) }), false},
		// Field blocks.
		{"CONTINUATION without an end", func(a *attacker) {
			a.raw(xhttp2.FrameHeaders, 0, 1, a.fields(attackRequest...)...)
			often(func(a *attacker) { a.raw(xhttp2.FrameContinuation, 0, 1, a.fields("a", "b")...) })(a)
		}, false},
		{"empty CONTINUATION", func(a *attacker) {
			a.raw(xhttp2.FrameHeaders, 0, 1)
			often(func(a *attacker) { a.raw(xhttp2.FrameContinuation, 0, 1) })(a)
		}, false},
		{"large CONTINUATION", func(a *attacker) {
			a.raw(xhttp2.FrameHeaders, 0, 1)
			for range 100 {
				a.raw(xhttp2.FrameContinuation, 0, 1, make([]byte, 16384)...)
			}
		}, false},
		{"a bomb: references to a large field", func(a *attacker) {
			block := bytes.Clone(a.fields(append(append([]string{}, attackRequest...), "x", strings.Repeat("y", 3900))...))
			a.raw(xhttp2.FrameHeaders, xhttp2.FlagHeadersEndHeaders, 1, block...)
			for id := uint32(3); id < 2000; id += 2 {
				a.raw(xhttp2.FrameHeaders, xhttp2.FlagHeadersEndHeaders, id, bytes.Repeat([]byte{0x80 | 62}, 16000)...)
			}
		}, true},
		{"one long value", func(a *attacker) {
			a.raw(xhttp2.FrameHeaders, 0, 1, append([]byte{0, 1, 'a', 0x7f, 0xff, 0xff, 0x7f}, make([]byte, 10000)...)...)
			a.raw(xhttp2.FrameContinuation, xhttp2.FlagContinuationEndHeaders, 1, make([]byte, 10000)...)
		}, false},
		{"large trailers", func(a *attacker) {
			for range 50 {
				id := a.open(false)
				a.raw(xhttp2.FrameHeaders, xhttp2.FlagHeadersEndHeaders|xhttp2.FlagHeadersEndStream, id, a.fields("a", strings.Repeat("b", 15000))...)
			}
		}, true},
		{"many cookies", func(a *attacker) {
			for range 50 {
				a.open(true, slicesOf("cookie", "a=b", 900)...)
			}
		}, true},
		// Connections that are held.
		{"a header without an end", func(a *attacker) { a.raw(xhttp2.FrameHeaders, 0, 1, a.fields(attackRequest...)...) }, true},
		{"half a frame header", func(a *attacker) { a.send("\x00\x00") }, true},
		{"half a frame", func(a *attacker) { a.send("\x00\x10\x00\x01\x04\x00\x00\x00\x01abc") }, true},
		{"bodies without an end", func(a *attacker) {
			for range 100 {
				a.open(false)
			}
		}, true},
		{"a window of 0", func(a *attacker) {
			a.raw(xhttp2.FrameSettings, 0, 0, 0, 4, 0, 0, 0, 0)
			for range 100 {
				a.open(true)
			}
		}, true},
		{"a window byte by byte", func(a *attacker) {
			a.raw(xhttp2.FrameSettings, 0, 0, 0, 4, 0, 0, 0, 0)
			id := a.open(true)
			often(func(a *attacker) { a.raw(xhttp2.FrameWindowUpdate, 0, id, 0, 0, 0, 1) })(a)
		}, false},
		{unread, func(a *attacker) {
			a.raw(xhttp2.FrameSettings, 0, 0, 0, 4, 0x7f, 255, 255, 255)
			a.raw(xhttp2.FrameWindowUpdate, 0, 0, 0x7f, 0, 0, 0)
			for range 100 {
				a.open(true)
			}
		}, true},
		{"more DATA than the window", func(a *attacker) {
			id := a.open(false, "x-hold", "1")
			for range 400 {
				a.raw(xhttp2.FrameData, 0, id, make([]byte, 16384)...)
			}
		}, true},
		// WebSockets. The service accepts them, but does not read.
		{"tunnels that are closed at once", often(func(a *attacker) { a.raw(xhttp2.FrameRSTStream, 0, a.connect(), 0, 0, 0, 8) }), false},
		{"made to reset: trailers of a tunnel", often(func(a *attacker) {
			id := a.connect()
			a.raw(xhttp2.FrameHeaders, xhttp2.FlagHeadersEndHeaders|xhttp2.FlagHeadersEndStream, id, a.fields("a", "b")...)
		}), false},
		{"silent tunnels", func(a *attacker) {
			for range 100 {
				a.connect()
			}
		}, true},
		{"tunnels with more DATA than the windows", func(a *attacker) {
			for range 50 {
				id := a.connect()
				for range 5 {
					a.raw(xhttp2.FrameData, 0, id, make([]byte, 16384)...)
				}
			}
		}, true},
	}
	return append(list, brokenFrames()...)
}

func slicesOf(name, value string, n int) (pairs []string) {
	for range n {
		pairs = append(pairs, name, value)
	}
	return pairs
}

// brokenFrames are single frames that end a connection.
func brokenFrames() (list []attack) {
	for name, f := range map[string]struct {
		kind    xhttp2.FrameType
		flags   xhttp2.Flags
		id      uint32
		payload []byte
	}{
		"a frame that is too large":          {xhttp2.FrameData, 0, 1, make([]byte, 16385)},
		"DATA on stream 0":                   {xhttp2.FrameData, 0, 0, []byte("a")},
		"DATA on an idle stream":             {xhttp2.FrameData, 0, 1, []byte("a")},
		"HEADERS on stream 0":                {xhttp2.FrameHeaders, 4, 0, nil},
		"HEADERS on an even stream":          {xhttp2.FrameHeaders, 4, 2, nil},
		"HEADERS that are too short":         {xhttp2.FrameHeaders, 4 | 0x20, 1, []byte{0}},
		"HEADERS with too much padding":      {xhttp2.FrameHeaders, 4 | 8, 1, []byte{200, 0}},
		"index 0":                            {xhttp2.FrameHeaders, 4, 1, []byte{0x80}},
		"an index beyond the table":          {xhttp2.FrameHeaders, 4, 1, []byte{0xff, 0xff, 0x7f}},
		"an integer without an end":          {xhttp2.FrameHeaders, 4, 1, bytes.Repeat([]byte{0xff}, 50)},
		"a table that is too large":          {xhttp2.FrameHeaders, 4, 1, []byte{0x3f, 0xff, 0xff, 0x7f}},
		"bad Huffman code":                   {xhttp2.FrameHeaders, 4, 1, []byte{0, 0x84, 0xff, 0xff, 0xff, 0xff, 0}},
		"a string beyond the block":          {xhttp2.FrameHeaders, 4, 1, []byte{0, 0x7e, 'a'}},
		"PRIORITY on stream 0":               {xhttp2.FramePriority, 0, 0, make([]byte, 5)},
		"PRIORITY of a bad length":           {xhttp2.FramePriority, 0, 1, make([]byte, 4)},
		"RST_STREAM on stream 0":             {xhttp2.FrameRSTStream, 0, 0, make([]byte, 4)},
		"RST_STREAM on an idle stream":       {xhttp2.FrameRSTStream, 0, 9, make([]byte, 4)},
		"RST_STREAM of a bad length":         {xhttp2.FrameRSTStream, 0, 1, make([]byte, 5)},
		"SETTINGS on a stream":               {xhttp2.FrameSettings, 0, 1, nil},
		"SETTINGS of a bad length":           {xhttp2.FrameSettings, 0, 0, make([]byte, 5)},
		"SETTINGS ACK with a payload":        {xhttp2.FrameSettings, 1, 0, make([]byte, 6)},
		"ENABLE_PUSH 2":                      {xhttp2.FrameSettings, 0, 0, []byte{0, 2, 0, 0, 0, 2}},
		"MAX_FRAME_SIZE 0":                   {xhttp2.FrameSettings, 0, 0, []byte{0, 5, 0, 0, 0, 0}},
		"MAX_FRAME_SIZE too large":           {xhttp2.FrameSettings, 0, 0, []byte{0, 5, 255, 0, 0, 0}},
		"INITIAL_WINDOW_SIZE too large":      {xhttp2.FrameSettings, 0, 0, []byte{0, 4, 255, 0, 0, 0}},
		"PUSH_PROMISE":                       {xhttp2.FramePushPromise, 4, 1, make([]byte, 4)},
		"PING on a stream":                   {xhttp2.FramePing, 0, 1, make([]byte, 8)},
		"PING of a bad length":               {xhttp2.FramePing, 0, 0, make([]byte, 9)},
		"GOAWAY on a stream":                 {xhttp2.FrameGoAway, 0, 1, make([]byte, 8)},
		"GOAWAY of a bad length":             {xhttp2.FrameGoAway, 0, 0, make([]byte, 7)},
		"WINDOW_UPDATE of a bad length":      {xhttp2.FrameWindowUpdate, 0, 0, make([]byte, 3)},
		"WINDOW_UPDATE by 0":                 {xhttp2.FrameWindowUpdate, 0, 0, make([]byte, 4)},
		"WINDOW_UPDATE on an idle stream":    {xhttp2.FrameWindowUpdate, 0, 9, []byte{0, 0, 0, 1}},
		"WINDOW_UPDATE beyond the largest":   {xhttp2.FrameWindowUpdate, 0, 0, []byte{0x7f, 255, 255, 255}},
		"CONTINUATION without HEADERS":       {xhttp2.FrameContinuation, 4, 1, nil},
		"CONTINUATION without HEADERS, on 0": {xhttp2.FrameContinuation, 4, 0, nil},
	} {
		list = append(list, attack{name, func(a *attacker) { a.raw(f.kind, f.flags, f.id, f.payload...) }, false})
	}
	return list
}

// TestHTTP2Attacks: each hostile connection ends, with its streams; others are served meanwhile, and memory stays bounded.
func TestHTTP2Attacks(t *testing.T) {
	list := attacks()
	if len(list) < 60 {
		t.Fatalf("only %d attacks", len(list))
	}
	over := make(chan struct{})
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "websocket" {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, strings.ReplaceAll(switching, "%s", string(http1.AppendWebSocketAccept(nil, []byte(r.Header.Get("Sec-WebSocket-Key"))))))
				<-over
			}
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(make([]byte, 10_000))
	})
	defer close(over)
	b := start(t, url, func(o *Options) {
		o.HeaderTimeout, o.ReadTimeout, o.WriteTimeout, o.IdleTimeout = time.Second, time.Second, time.Second, 2*time.Second
		o.TunnelTimeout = time.Second
		o.MaxHeldBytes = 16 << 20
	})
	b.responses = -1
	healthy := b.h2()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, attack := range list {
		a := &attacker{h2Client: b.dialH2()}
		_ = a.conn.SetWriteDeadline(time.Now().Add(30 * time.Second))
		ended := make(chan struct{})
		if attack.name != unread {
			go func() { // acknowledges nothing, and opens no window
				_, _ = io.Copy(io.Discard, a.br)
				close(ended)
			}()
		}
		attack.run(a)
		resp, err := healthy.Get("http://" + b.addr + "/healthy")
		if err != nil {
			t.Fatalf("%s: another client: %v", attack.name, err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || len(body) != 10_000 {
			t.Errorf("%s: another client has %d bytes: %v", attack.name, len(body), err)
		}
		if attack.held {
			_ = a.conn.Close() // the time limits have tests of their own
			continue
		}
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Errorf("%s: the connection is still open", attack.name)
		}
		_ = a.conn.Close()
	}
	until(t, "all streams have ended", func() bool { m := b.p.Metrics(); return m.InFlight == 0 && m.HTTP2Streams == 0 })
	until(t, "no memory is counted", func() bool { return b.p.held.Load() == 0 })
	runtime.GC() // twice, because pools keep their contents for one
	runtime.GC()
	runtime.ReadMemStats(&after)
	if more := int64(after.HeapInuse) - int64(before.HeapInuse); more > 16<<20 {
		t.Errorf("%d bytes more of heap", more)
	}
	t.Logf("%d attacks; limits: %v", len(list), b.p.Metrics().HTTP2Limits)
}
