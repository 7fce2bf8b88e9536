package http2_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/http2"
)

// remote is a server: it writes frames with golang.org/x/net/http2 and feeds them to the client side.
type remote struct {
	*peer
}

// newRemote returns a server after the client has sent its preface and processed the server's SETTINGS.
func newRemote(t testing.TB, l http2.Limits, settings ...xhttp2.Setting) *remote {
	t.Helper()
	r := &remote{newSilentPeer(t, l)}
	r.c = http2.NewClient(l)
	if out := r.c.TakeOutput(nil); !bytes.HasPrefix(out, []byte(http2.Preface)) {
		t.Fatalf("%q does not begin with the preface", out)
	} else if r.out.Write(out[len(http2.Preface):]); r.c.Settled() {
		t.Fatal("settled without SETTINGS")
	}
	r.ok(r.f.WriteSettings(settings...))
	r.expectClient("settings")
	if got := r.frames(); len(got) != 3 || got[0].(*xhttp2.SettingsFrame).NumSettings() != 3 || got[2].(*xhttp2.SettingsFrame).IsAck() != true {
		t.Fatalf("first frames: %v", got)
	}
	return r
}

// expectClient feeds the input to the client side and compares the events.
func (r *remote) expectClient(want ...string) {
	r.t.Helper()
	got, err := r.feedClient()
	if err != nil {
		r.t.Fatal(err)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		r.t.Fatalf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (r *remote) feedClient() (events []string, err error) {
	b := r.sent.Bytes()
	for {
		ev, n, err := r.c.Next(b, r.now)
		b = b[n:]
		if err != nil {
			return events, err
		}
		if ev.Kind == http2.EventNone {
			break
		}
		events = append(events, describeClient(ev))
	}
	rest := bytes.Clone(b)
	r.sent.Reset()
	r.sent.Write(rest)
	return events, nil
}

func describeClient(ev http2.Event) string {
	switch ev.Kind {
	case http2.EventResponse:
		return fmt.Sprintf("response %d %q end=%v interim=%v", ev.Stream.ID, ev.Stream.Head, ev.End, ev.Stream.Interim)
	case http2.EventSettings:
		return "settings"
	case http2.EventPong:
		return "pong"
	case http2.EventGoAway:
		return "goaway " + ev.Code.String()
	case http2.EventReset:
		return fmt.Sprintf("reset %d %v err=%v", ev.Stream.ID, ev.Code, ev.Stream.Err)
	}
	return describe(ev)
}

const plainHead = "GET /a?b HTTP/1.1\r\nHost: example.org\r\nConnection: TE\r\nTE: trailers\r\nCookie: a=b; c=d\r\nX-A: b\r\n\r\n"

func TestClientRequest(t *testing.T) {
	r := newRemote(t, http2.Limits{})
	for head, want := range map[string]string{
		plainHead: "[:method=GET :scheme=http :path=/a?b :authority=example.org te=trailers cookie=a=b; c=d x-a=b]",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n":                      "[:method=POST :scheme=http :path=/ :authority=a content-type=text/plain]",
		"OPTIONS * HTTP/1.1\r\nhost: a:1\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n":                                        "[:method=OPTIONS :scheme=http :path=* :authority=a:1 content-length=0]",
		"PURGE /" + strings.Repeat("x", 300) + " HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("y", 20000) + "\r\n\r\n": "",
	} {
		s := r.c.WriteRequest([]byte(head), "http", true)
		f := r.frames()[0].(*xhttp2.MetaHeadersFrame)
		var got []string
		for _, f := range f.Fields {
			got = append(got, f.Name+"="+f.Value)
		}
		if want != "" && fmt.Sprint(got) != want || want == "" && len(f.Fields) != 5 || f.StreamID != s.ID || s.ID%2 != 1 || !f.StreamEnded() || !s.Ended() {
			t.Errorf("%v, stream %d, want %s", got, s.ID, want)
		}
	}
	if n := r.c.Open(); n != 4 {
		t.Errorf("%d streams", n)
	}
}

func TestClientResponse(t *testing.T) {
	for name, test := range map[string]struct {
		request string
		send    func(r *remote, id uint32)
		want    []string
	}{
		"body with a length": {plainHead, func(r *remote, id uint32) {
			r.headers(id, false, ":status", "200", "content-length", "5", "x", "y")
			r.data(id, true, "hello")
		}, []string{`response 1 "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 5\r\n\r\n" end=false interim=false`, `data 1 "hello" end=true`}},
		"body and trailers": {plainHead, func(r *remote, id uint32) {
			r.headers(id, false, ":status", "200")
			r.data(id, false, "hello")
			r.headers(id, true, "sum", "1")
		}, []string{`response 1 "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" end=false interim=false`, `data 1 "hello" end=false`, `trailers 1 "sum: 1\r\n"`}},
		"gRPC keeps its trailers": {plainHead, func(r *remote, id uint32) {
			r.headers(id, false, ":status", "200", "content-type", "application/grpc", "content-length", "1")
			r.data(id, false, "x")
			r.headers(id, true, "grpc-status", "0")
		}, []string{`response 1 "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n" end=false interim=false`, `data 1 "x" end=false`, `trailers 1 "grpc-status: 0\r\n"`}},
		"no body": {
			plainHead, func(r *remote, id uint32) { r.headers(id, true, ":status", "404") },
			[]string{`response 1 "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n" end=true interim=false`},
		},
		"interim": {plainHead, func(r *remote, id uint32) {
			r.headers(id, false, ":status", "103", "link", "x")
			r.headers(id, true, ":status", "204")
		}, []string{`response 1 "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" end=false interim=true`, `response 1 "HTTP/1.1 204 No Content\r\n\r\n" end=true interim=false`}},
		"HEAD": {
			"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", func(r *remote, id uint32) { r.headers(id, true, ":status", "200", "content-length", "7") },
			[]string{`response 1 "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n" end=true interim=false`},
		},
		"HEAD without END_STREAM": {"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", func(r *remote, id uint32) {
			r.headers(id, false, ":status", "200")
			r.data(id, true, "")
		}, []string{`response 1 "HTTP/1.1 200 OK\r\n\r\n" end=false interim=false`, `data 1 "" end=true`}},
		"304 with a length": {
			plainHead, func(r *remote, id uint32) { r.headers(id, true, ":status", "304", "content-length", "7") },
			[]string{`response 1 "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n" end=true interim=false`},
		},
		"refused": {
			plainHead, func(r *remote, id uint32) { r.ok(r.f.WriteRSTStream(id, xhttp2.ErrCodeRefusedStream)) },
			[]string{"reset 1 REFUSED_STREAM err=<nil>"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(t, http2.Limits{})
			s := r.c.WriteRequest([]byte(test.request), "http", true)
			r.frames()
			test.send(r, s.ID)
			r.expectClient(test.want...)
			if r.c.Release(s, http2.CodeCancel); len(r.frames()) > 0 {
				t.Error("a stream that has ended is reset")
			}
		})
	}
}

// A malformed response ends only its own stream.
func TestClientMalformedResponse(t *testing.T) {
	for name, send := range map[string]func(r *remote, id uint32){
		"no status":         func(r *remote, id uint32) { r.headers(id, true, "a", "b") },
		"status 20":         func(r *remote, id uint32) { r.headers(id, true, ":status", "20") },
		"status +20":        func(r *remote, id uint32) { r.headers(id, true, ":status", "+20") },
		"status 101":        func(r *remote, id uint32) { r.headers(id, false, ":status", "101") },
		"two statuses":      func(r *remote, id uint32) { r.headers(id, true, ":status", "200", ":status", "200") },
		"status at the end": func(r *remote, id uint32) { r.headers(id, true, "a", "b", ":status", "200") },
		"request field":     func(r *remote, id uint32) { r.headers(id, true, ":status", "200", ":path", "/") },
		"upper case":        func(r *remote, id uint32) { r.headers(id, true, ":status", "200", "A", "b") },
		"line feed":         func(r *remote, id uint32) { r.headers(id, true, ":status", "200", "a", "b\r\nc: d") },
		"connection":        func(r *remote, id uint32) { r.headers(id, true, ":status", "200", "connection", "close") },
		"chunked":           func(r *remote, id uint32) { r.headers(id, true, ":status", "200", "transfer-encoding", "chunked") },
		"two lengths": func(r *remote, id uint32) {
			r.headers(id, true, ":status", "200", "content-length", "0", "content-length", "0")
		},
		"bad length":        func(r *remote, id uint32) { r.headers(id, true, ":status", "200", "content-length", "+1") },
		"length, no body":   func(r *remote, id uint32) { r.headers(id, true, ":status", "200", "content-length", "1") },
		"interim at an end": func(r *remote, id uint32) { r.headers(id, true, ":status", "103") },
		"many interim": func(r *remote, id uint32) {
			for range 33 {
				r.headers(id, false, ":status", "103")
			}
		},
		"too large": func(r *remote, id uint32) { r.headers(id, true, ":status", "200", "a", strings.Repeat("b", 12000)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(t, http2.Limits{HeaderBytes: 8 << 10})
			s := r.c.WriteRequest([]byte(plainHead), "http", true)
			r.frames()
			send(r, s.ID)
			events, err := r.feedClient()
			if last := events[len(events)-1]; err != nil || !strings.HasPrefix(last, "reset 1 PROTOCOL_ERROR") || s.Err == nil {
				t.Fatal(events, err)
			}
			if errors.Is(s.Err, http1.ErrHeaderSize) != (name == "too large") {
				t.Error(s.Err)
			}
			if f := r.frames(); len(f) != 1 || f[0].Header().Type != xhttp2.FrameRSTStream {
				t.Error(f)
			}
			r.c.Release(s, http2.CodeCancel)
			s = r.c.WriteRequest([]byte(plainHead), "http", true)
			r.headers(s.ID, true, ":status", "200")
			if events, err := r.feedClient(); err != nil || len(events) != 1 {
				t.Error(events, err)
			}
		})
	}
}

func TestClientBodyErrors(t *testing.T) {
	for name, send := range map[string]func(r *remote, id uint32){
		"too much":             func(r *remote, id uint32) { r.data(id, false, "abcd") },
		"too little":           func(r *remote, id uint32) { r.data(id, true, "ab") },
		"too little, trailers": func(r *remote, id uint32) { r.data(id, false, "ab"); r.headers(id, true, "a", "b") },
		"bad trailers":         func(r *remote, id uint32) { r.data(id, false, "abc"); r.headers(id, true, ":status", "200") },
		"a second header":      func(r *remote, id uint32) { r.headers(id, false, ":status", "200") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(t, http2.Limits{})
			s := r.c.WriteRequest([]byte(plainHead), "http", true)
			r.headers(s.ID, false, ":status", "200", "content-length", "3")
			send(r, s.ID)
			if events, err := r.feedClient(); err != nil || !strings.HasPrefix(events[len(events)-1], "reset 1 PROTOCOL_ERROR") {
				t.Fatal(events, err)
			}
		})
	}
	r := newRemote(t, http2.Limits{})
	s := r.c.WriteRequest([]byte(plainHead), "http", true)
	r.data(s.ID, true, "data before the header")
	r.expectClient("reset 1 PROTOCOL_ERROR err=<nil>")
}

// A server that violates the rules for the connection loses it.
func TestClientConnectionErrors(t *testing.T) {
	for name, send := range map[string]func(r *remote){
		"push": func(r *remote) {
			r.ok(r.f.WritePushPromise(xhttp2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: r.fields(":method", "GET"), EndHeaders: true}))
		},
		"headers of an idle stream": func(r *remote) { r.headers(3, true, ":status", "200") },
		"headers of a server":       func(r *remote) { r.headers(2, true, ":status", "200") },
		"data of an idle stream":    func(r *remote) { r.data(3, true, "x") },
		"reset of an idle stream":   func(r *remote) { r.ok(r.f.WriteRSTStream(3, xhttp2.ErrCodeCancel)) },
		"window of an idle stream":  func(r *remote) { r.ok(r.f.WriteWindowUpdate(3, 1)) },
		"window 0":                  func(r *remote) { r.ok(r.f.WriteWindowUpdate(0, 0)) },
		"pings": func(r *remote) {
			for range 2000 {
				r.ok(r.f.WritePing(false, [8]byte{}))
			}
		},
		"empty data": func(r *remote) {
			r.headers(1, false, ":status", "200")
			for range 2000 {
				r.data(1, false, "")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(t, http2.Limits{})
			r.c.WriteRequest([]byte(plainHead), "http", true)
			send(r)
			var failed *http2.ConnError
			if _, err := r.feedClient(); !errors.As(err, &failed) {
				t.Fatal(err)
			}
			r.out.Write(r.c.TakeOutput(nil))
			for {
				f, err := r.answers.ReadFrame()
				if err != nil {
					t.Fatal("no GOAWAY:", err)
				}
				if g, ok := f.(*xhttp2.GoAwayFrame); ok {
					if g.LastStreamID != 0 {
						t.Error(g)
					}
					break
				}
			}
		})
	}
}

// After GOAWAY, no streams begin. A later GOAWAY may lower the last stream's ID, but cannot raise it.
func TestClientGoAway(t *testing.T) {
	r := newRemote(t, http2.Limits{})
	var streams []*http2.Stream
	for range 3 {
		streams = append(streams, r.c.WriteRequest([]byte(plainHead), "http", false))
	}
	r.frames()
	r.ok(r.f.WriteGoAway(1<<31-1, xhttp2.ErrCodeNo, nil))
	r.expectClient("goaway NO_ERROR")
	if r.c.CanOpen() || r.c.PeerLast() != 1<<31-1 {
		t.Error(r.c.CanOpen(), r.c.PeerLast())
	}
	r.ok(r.f.WriteGoAway(3, xhttp2.ErrCodeNo, nil))
	r.ok(r.f.WriteGoAway(5, xhttp2.ErrCodeNo, nil))
	r.headers(3, true, ":status", "200")
	r.expectClient("goaway NO_ERROR", `response 3 "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" end=true interim=false`)
	if r.c.PeerLast() != 3 {
		t.Error(r.c.PeerLast())
	}
	for i, want := range []int{1, 1, 0} { // RST_STREAM; the server does not know the third
		r.c.Release(streams[i], http2.CodeCancel)
		if got := r.frames(); len(got) != want {
			t.Errorf("stream %d: %v", i, got)
		}
	}
}

func TestClientSettingsAndPing(t *testing.T) {
	r := newRemote(t, http2.Limits{}, xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 7}, xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 3})
	if !r.c.Settled() || r.c.StreamsMax() != 7 {
		t.Error(r.c.Settled(), r.c.StreamsMax())
	}
	s := r.c.WriteRequest([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"), "http", false)
	if n := r.c.WriteData(s, []byte("hello"), true); n != 3 {
		t.Errorf("%d bytes beyond the window", n)
	}
	r.ok(r.f.WriteWindowUpdate(s.ID, 10))
	r.expectClient("window 1")
	if n := r.c.WriteData(s, []byte("lo"), true); n != 2 || !s.Ended() {
		t.Error(n, s.Ended())
	}
	r.c.Ping()
	r.frames()
	r.ok(r.f.WritePing(true, [8]byte([]byte("liveness"))))
	r.ok(r.f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 0}))
	r.expectClient("pong", "settings")
	if r.c.StreamsMax() != 0 {
		t.Error(r.c.StreamsMax())
	}
}
