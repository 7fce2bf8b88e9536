package http2_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"pgregory.net/rapid"

	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/http2"
)

func whole() int { return 1 << 30 }

// FuzzFrames checks that any input is either understood or ends the connection, that it makes no difference where the input is split, and that the
// output consists of valid frames. The last bytes of the input, tail, are sent some more times: windows are too large for what a fuzzer tries.
func FuzzFrames(f *testing.F) {
	for _, input := range conversations(f) {
		f.Add(input, 1, uint(0), uint(0))
	}
	for _, streams := range []uint{1, 2} { // more data than the window of a stream allows, and than that of the connection
		p := greetingPeer(f)
		for i := range streams {
			p.headers(uint32(2*i+1), false, post...)
		}
		before := p.sent.Len()
		for i := range streams {
			p.data(uint32(2*i+1), false, strings.Repeat("x", 1000))
		}
		f.Add(bytes.Clone(p.sent.Bytes()), 63, uint(p.sent.Len()-before), 100/streams+10)
	}
	f.Fuzz(func(t *testing.T, input []byte, size int, tail, times uint) {
		tail = min(tail, uint(len(input)))
		input = slices.Concat(input, bytes.Repeat(input[uint(len(input))-tail:], int(times%128)))
		log, out := run(t, input, whole)
		log2, out2 := run(t, input, func() int { return size % 64 })
		if !slices.Equal(log, log2) || !sameFrames(t, out, out2) {
			t.Fatalf("split differently:\n%.300q\n%.300q\n%.5000x\n%.5000x", log, log2, out, out2)
		}
	})
}

// sameFrames checks that both outputs consist of valid frames, and that these are the same, except for WINDOW_UPDATE.
func sameFrames(t testing.TB, a, b []byte) bool {
	t.Helper()
	return slices.EqualFunc(parseFrames(t, a), parseFrames(t, b), bytes.Equal)
}

func parseFrames(t testing.TB, out []byte) (all [][]byte) {
	t.Helper()
	fr := xhttp2.NewFramer(io.Discard, bytes.NewReader(out))
	for at := 0; at < len(out); {
		frame, err := fr.ReadFrame()
		if err != nil {
			t.Fatalf("bad output: %v in %x", err, out)
		}
		n := at + 9 + int(frame.Header().Length)
		if _, ok := frame.(*xhttp2.WindowUpdateFrame); !ok {
			all = append(all, out[at:n])
		}
		at = n
	}
	return all
}

// greetingPeer returns a client that has written its preface and SETTINGS.
func greetingPeer(t testing.TB) *peer {
	p := newSilentPeer(t, http2.Limits{})
	p.sent.WriteString(http2.Preface)
	p.ok(p.f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingEnablePush, Val: 0}))
	p.ok(p.f.WriteSettingsAck())
	return p
}

// conversations returns the bytes that some clients send.
func conversations(t testing.TB) (all [][]byte) {
	for _, talk := range []func(p *peer){
		func(p *peer) { p.headers(1, true, get...) },
		func(p *peer) {
			p.headers(1, false, with(post, "content-length", "5", "cookie", "a=b", "cookie", "c=d")...)
			p.data(1, false, "he")
			p.ok(p.f.WriteDataPadded(1, true, []byte("llo"), make([]byte, 9)))
			p.ok(p.f.WritePing(false, [8]byte{1, 2, 3}))
			p.headers(3, true, with(get, "cookie", "a=b")...)
		},
		func(p *peer) {
			p.headers(1, false, post...)
			p.data(1, false, "x")
			p.headers(1, true, "x-sum", "1")
			p.ok(p.f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 2}, xhttp2.Setting{ID: xhttp2.SettingMaxFrameSize, Val: 1 << 20}))
			p.headers(3, true, get...)
			p.ok(p.f.WriteWindowUpdate(3, 1))
			p.ok(p.f.WriteRSTStream(3, xhttp2.ErrCodeCancel))
			p.ok(p.f.WriteGoAway(0, 0, []byte("debug")))
		},
		func(p *peer) {
			block := slices.Clone(p.fields(with(get, "x", "y")...))
			p.ok(p.f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:3], EndStream: true, PadLength: 4, Priority: xhttp2.PriorityParam{StreamDep: 0, Weight: 3}}))
			p.ok(p.f.WriteContinuation(1, false, block[3:7]))
			p.ok(p.f.WriteContinuation(1, true, block[7:]))
			p.ok(p.f.WritePriority(3, xhttp2.PriorityParam{StreamDep: 1}))
			p.headers(5, true, with(get, "A", "b")...)
			p.headers(7, false, post...)
			p.data(5, true, "late")
			p.data(7, true, "")
		},
		func(p *peer) {
			p.headers(1, false, connect...)
			p.data(1, false, "frames of a WebSocket")
			p.headers(3, true, connect...)
			p.headers(5, false, connect...)
			p.headers(5, true, "x-sum", "1")
			p.data(1, true, "the last one")
		},
		func(p *peer) { p.raw(0x42, 0xff, 9, "unknown"); p.data(1, true, "idle") },
		func(p *peer) {
			for id := uint32(1); id < 14; id += 2 {
				p.headers(id, false, post...)
			}
		},
	} {
		p := greetingPeer(t)
		talk(p)
		all = append(all, bytes.Clone(p.sent.Bytes()))
	}
	return all
}

// TestEverySplit: it makes no difference where the input is split.
func TestEverySplit(t *testing.T) {
	for _, input := range conversations(t) {
		log, out := run(t, input, whole)
		if len(log) == 0 {
			t.Fatal("nothing was understood")
		}
		for at := 1; at < len(input); at++ {
			n := at
			log2, out2 := run(t, input, func() int { defer func() { n = len(input) }(); return n })
			if !slices.Equal(log, log2) || !sameFrames(t, out, out2) {
				t.Fatalf("split at %d:\n%q\n%q\n%x\n%x", at, log, log2, out, out2)
			}
		}
		if log2, out2 := run(t, input, func() int { return 1 }); !slices.Equal(log, log2) || !sameFrames(t, out, out2) {
			t.Fatalf("byte by byte:\n%q\n%q", log, log2)
		}
	}
}

// FuzzFields checks that a well-formed request is converted to exactly one HTTP/1.1 request with the same meaning for every parser.
func FuzzFields(f *testing.F) {
	for _, fields := range [][]string{get, with(get, "a", "b", "cookie", "x", "cookie", "y"), with(post, "content-length", "3"), with(get, "a", "b\r\nc: d"), connect, with(connect, "sec-websocket-key", "x")} {
		p := newSilentPeer(f, http2.Limits{})
		f.Add(bytes.Clone(p.fields(fields...)), true)
	}
	f.Fuzz(func(t *testing.T, block []byte, end bool) {
		if len(block) > 16384 {
			return
		}
		p := newPeer(t, http2.Limits{})
		flags := xhttp2.Flags(flagEndHeaders)
		if end {
			flags |= flagEndStream
		}
		p.raw(xhttp2.FrameHeaders, flags, 1, string(block))
		if _, err := p.feed(); err != nil {
			var failed *http2.ConnError
			if !errors.As(err, &failed) || failed.Code != http2.CodeCompression && failed.Limit != http2.LimitFields {
				t.Fatal(err)
			}
			return
		}
		s := p.streams[1]
		if s == nil {
			t.Fatal("no request")
		}
		checkRequest(t, s, block, end)
	})
}

// checkRequest compares a request with its fields as another decoder reads them.
func checkRequest(t testing.TB, s *http2.Stream, block []byte, end bool) {
	if n := bytes.Count(s.Head, []byte("\r\n\r\n")); n > 1 || n == 1 && !bytes.HasSuffix(s.Head, []byte("\r\n\r\n")) {
		t.Fatalf("more than one header block: %q", s.Head)
	}
	if s.Err != nil {
		return
	}
	fields, err := hpack.NewDecoder(4096, nil).DecodeFull(block)
	if err != nil {
		t.Fatal(err)
	}
	h := http1.Request{Raw: s.Head}
	h.Length = -1
	if _, err := h.Rewrite(nil, &http1.Peer{}, &http1.RequestOptions{}); err != nil {
		return // the rules of HTTP/1.1 refuse the request
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(s.Head)))
	if err != nil {
		return
	}
	if end && h.HasBody() || !end && !h.Chunked && s.Chunked {
		t.Fatalf("a request with end=%v is %q", end, s.Head)
	}
	regular := 0
	for _, f := range fields {
		switch f.Name {
		case ":path":
			if string(h.Target) != f.Value {
				t.Fatalf("target %q, was %q", h.Target, f.Value)
			}
		case ":method":
			if r.Method != f.Value && !(s.Upgrade && r.Method == "GET" && f.Value == "CONNECT") {
				t.Fatalf("method %q, was %q", r.Method, f.Value)
			}
		case ":authority":
			if string(h.Host) != f.Value {
				t.Fatalf("host %q, was %q", h.Host, f.Value)
			}
		case ":protocol":
			if h.IsWebSocket() != s.Upgrade {
				t.Fatalf("protocol %q: %q", f.Value, s.Head)
			}
			regular += 2 // Connection and Upgrade
		case ":scheme", "host", "cookie", "content-length", "trailer":
		case "sec-websocket-key", "sec-websocket-accept":
			if !s.Upgrade {
				regular++
			}
		default:
			regular++
		}
	}
	got := 0
	for name, values := range r.Header {
		if name != "Cookie" && name != "Content-Length" && name != "Trailer" {
			got += len(values)
		}
	}
	if got != regular {
		t.Fatalf("%d fields became %d: %q", regular, got, s.Head)
	}
}

// TestResponsesAreReadAsWritten: a client reads the same response header that was written.
func TestResponsesAreReadAsWritten(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		p := newPeer(t, http2.Limits{})
		p.headers(1, true, get...)
		if _, err := p.feed(); err != nil {
			t.Fatal(err)
		}
		status := rapid.IntRange(200, 599).Draw(r, "status")
		names := rapid.SliceOfN(rapid.StringMatching(`[A-Za-z][A-Za-z0-9-]{0,80}`), 0, 20).Draw(r, "names")
		want := "HEADERS 1 end=true :status=" + itoa(status)
		head := "HTTP/1.1 " + itoa(status) + " Any Reason\r\n"
		for i, name := range names {
			value := rapid.StringMatching(`|[!-~]|[!-~][ -~]{0,300}[!-~]`).Draw(r, "value"+itoa(i))
			head += name + ": " + value + "\r\n"
			switch lower := strings.ToLower(name); lower {
			case "connection", "transfer-encoding", "keep-alive", "proxy-connection", "upgrade":
			default:
				want += " " + lower + "=" + value
			}
		}
		p.c.TakeOutput(nil)
		p.c.WriteHead(p.streams[1], []byte(head+"\r\n"), true)
		if got := p.outcome(); len(got) != 1 || got[0] != want {
			r.Fatalf("%q\nbecame %q", head, got)
		}
	})
}

func itoa(n int) string {
	return string([]byte{byte('0' + n/100%10), byte('0' + n/10%10), byte('0' + n%10)})
}
