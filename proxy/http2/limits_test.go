package http2_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wayside-proxy/wayside/proxy/http2"
)

// TestConcurrentStreams: a stream counts until it is released, whoever has reset it.
func TestConcurrentStreams(t *testing.T) {
	for name, end := range map[string]func(p *peer, id uint32){
		"rapid reset":   func(p *peer, id uint32) { p.ok(p.f.WriteRSTStream(id, 8)) },
		"MadeYouReset":  func(p *peer, id uint32) { p.raw(xhttp2.FrameWindowUpdate, 0, id, u32(0)) },
		"still waiting": func(*peer, uint32) {},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, http2.Limits{Streams: 3})
			for id := uint32(1); id <= 7; id += 2 {
				p.headers(id, true, get...)
				if id < 7 {
					end(p, id)
				}
			}
			events, err := p.feed()
			if err != nil || events[len(events)-1] != "refused" || p.c.Open() != 3 {
				t.Fatalf("%q, %v, %d open", events, err, p.c.Open())
			}
			out := p.outcome()
			if out[len(out)-1] != "RST_STREAM 7 REFUSED_STREAM" {
				t.Fatal(out)
			}
			p.c.Release(p.streams[1], http2.CodeCancel)
			p.headers(9, true, get...)
			p.expect(strings.Replace(request1, "1", "9", 1))
		})
	}
}

func TestBudgets(t *testing.T) {
	for name, test := range map[string]struct {
		send func(p *peer, n int)
		want http2.Limit
	}{
		"PING":     {func(p *peer, _ int) { p.ok(p.f.WritePing(false, [8]byte{})) }, http2.LimitControl},
		"SETTINGS": {func(p *peer, _ int) { p.ok(p.f.WriteSettings()) }, http2.LimitControl},
		"PRIORITY": {func(p *peer, _ int) { p.raw(xhttp2.FramePriority, 0, 1, "12345") }, http2.LimitControl},
		"unknown":  {func(p *peer, _ int) { p.raw(0x42, 0, 0, "") }, http2.LimitControl},
		"WINDOW_UPDATE": {func(p *peer, _ int) {
			p.ok(p.f.WriteWindowUpdate(0, 1))
		}, http2.LimitControl},
		"empty DATA": {func(p *peer, n int) {
			if n == 0 {
				p.headers(1, false, post...)
			}
			p.data(1, false, "")
		}, http2.LimitControl},
		"only padding": {func(p *peer, n int) {
			if n == 0 {
				p.headers(1, false, post...)
			}
			p.ok(p.f.WriteDataPadded(1, false, nil, []byte{0}))
		}, http2.LimitControl},
		"rapid reset": {func(p *peer, n int) {
			id := uint32(2*n + 1)
			p.headers(id, true, get...)
			p.ok(p.f.WriteRSTStream(id, 8))
		}, http2.LimitResets},
		"MadeYouReset": {func(p *peer, n int) {
			id := uint32(2*n + 1)
			p.headers(id, true, get...)
			p.data(id, true, "x")
		}, http2.LimitResets},
		"DATA on closed streams": {func(p *peer, n int) {
			if n == 0 {
				closed(p)
			}
			p.data(1, false, "x")
		}, http2.LimitResets},
		"window byte by byte": {func(p *peer, n int) {
			if n == 0 {
				p.raw(xhttp2.FrameSettings, 0, 0, "\x00\x04"+u32(0))
				p.headers(1, true, get...)
			} else {
				p.c.WriteData(p.streams[1], []byte("x"), false)
			}
			p.ok(p.f.WriteWindowUpdate(1, 1))
		}, http2.LimitControl},
	} {
		t.Run(name, func(t *testing.T) {
			l := http2.Limits{Control: http2.Budget{Burst: 40, PerSecond: 10}, Resets: http2.Budget{Burst: 40, PerSecond: 10}}
			p := newPeer(t, l)
			for n := range 30 { // safely within the limits
				test.send(p, n)
				if _, err := p.feed(); err != nil {
					t.Fatal(n, err)
				}
				release(p)
			}
			p.now += time.Hour // the budgets are full again
			for n := 30; n < 60; n++ {
				test.send(p, n)
				if _, err := p.feed(); err != nil {
					t.Fatal(n, err)
				}
				release(p)
			}
			for n := 60; n < 200; n++ {
				test.send(p, n)
				if _, err := p.feed(); err != nil {
					break
				}
				release(p)
			}
			p.fails(http2.CodeEnhanceYourCalm, test.want) // the error stays
		})
	}
}

// release releases the streams that have been reset, and takes the output.
func release(p *peer) {
	for id, s := range p.streams {
		if s.Reset() {
			p.c.Release(s, http2.CodeCancel)
			delete(p.streams, id)
		}
	}
	p.c.TakeOutput(nil)
}

// TestWorkRefillsBudget: a client that responds to every piece of a response with PING and WINDOW_UPDATE, as gRPC does, does not exceed the limit.
func TestWorkRefillsBudget(t *testing.T) {
	p := newPeer(t, http2.Limits{Control: http2.Budget{Burst: 20, PerSecond: 1}})
	p.headers(1, true, get...)
	p.expect(request1)
	for range 2000 {
		if n := p.c.WriteData(p.streams[1], make([]byte, 1024), false); n != 1024 {
			t.Fatal(n)
		}
		p.ok(p.f.WritePing(false, [8]byte{}))
		p.ok(p.f.WriteWindowUpdate(1, 1024))
		p.ok(p.f.WriteWindowUpdate(0, 1024))
		p.expect("window 1", "window")
		p.c.TakeOutput(nil)
	}
}

func TestContinuationLimits(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	p.raw(xhttp2.FrameHeaders, flagEndStream, 1, "")
	for range 33 {
		p.ok(p.f.WriteContinuation(1, false, nil))
	}
	p.fails(http2.CodeEnhanceYourCalm, http2.LimitContinuations)

	p = newPeer(t, http2.Limits{})
	p.raw(xhttp2.FrameHeaders, flagEndStream, 1, "")
	for range 5 {
		p.ok(p.f.WriteContinuation(1, false, []byte(strings.Repeat("\x00\x01a\x01b", 3000))))
	}
	p.fails(http2.CodeEnhanceYourCalm, http2.LimitContinuations)
}

// TestCompressionBomb: a compression bomb is small before decompression, because it consists of thousands of references to a large field in
// the dynamic table. Beyond the limit, nothing is kept, and the compression state stays the same as the peer's. Far beyond it, the
// connection ends, even if the block belongs to a stream that is refused.
func TestCompressionBomb(t *testing.T) {
	bomb := func(n int) []string {
		return append(append([]string{}, get...), slices.Repeat([]string{"bomb", strings.Repeat("x", 3900)}, n)...)
	}
	p := newPeer(t, http2.Limits{})
	p.headers(1, true, bomb(30)...)
	events, err := p.feed()
	if err != nil || len(events) != 1 || !strings.HasSuffix(events[0], "err=request header too large") {
		t.Fatal(len(events), err)
	}
	if n := len(p.streams[1].Head); n > 40<<10 {
		t.Fatalf("%d bytes of header were kept", n)
	}
	p.headers(3, true, bomb(1)...)
	if events, err := p.feed(); err != nil || !strings.HasSuffix(events[0], "err=<nil>") {
		t.Fatal(err)
	}
	p.headers(5, true, bomb(8000)...)
	p.fails(http2.CodeEnhanceYourCalm, http2.LimitFields)

	p = newPeer(t, http2.Limits{Streams: 1})
	p.headers(1, false, get...)
	if _, err := p.feed(); err != nil {
		t.Fatal(err)
	}
	p.headers(3, true, bomb(8000)...)
	p.fails(http2.CodeEnhanceYourCalm, http2.LimitFields)
}

func TestDynamicTableLimit(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	p.raw(xhttp2.FrameHeaders, flagEndHeaders, 1, "\x3f\xe2\x1f") // a table of 4097 bytes
	p.fails(http2.CodeCompression, http2.LimitNone)
}

func TestStringLimit(t *testing.T) {
	p := newPeer(t, http2.Limits{HeaderBytes: 1024})
	var b strings.Builder
	b.WriteString("\x00\x01a")
	b.Write(hpack.AppendHuffmanString([]byte{0x7f, 0xff, 0x1f}, "")) // a value of 4222 bytes
	p.raw(xhttp2.FrameHeaders, flagEndHeaders, 1, b.String())
	p.fails(http2.CodeEnhanceYourCalm, http2.LimitFields)
}

// TestQueuedOutput: a peer that does not read the frames that it causes loses the connection.
func TestQueuedOutput(t *testing.T) {
	p := newPeer(t, http2.Limits{Control: http2.Budget{Burst: 1e6, PerSecond: 1e6}})
	for range 1500 {
		p.ok(p.f.WritePing(false, [8]byte{}))
	}
	p.fails(http2.CodeEnhanceYourCalm, http2.LimitQueued)
}
