package http2_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wayside-proxy/wayside/proxy/http2"
)

// peer is a client: it writes frames with golang.org/x/net/http2 and passes them to a connection.
type peer struct {
	t       testing.TB
	c       *http2.Conn
	sent    bytes.Buffer // frames that have not been passed to the connection yet
	f       *xhttp2.Framer
	block   bytes.Buffer
	enc     *hpack.Encoder
	now     time.Duration
	streams map[uint32]*http2.Stream
	answers *xhttp2.Framer // reads the connection's output
	out     bytes.Buffer
}

// newPeer returns a client whose preface and SETTINGS the connection has consumed.
func newPeer(t testing.TB, l http2.Limits) *peer {
	p := newSilentPeer(t, l)
	p.sent.WriteString(http2.Preface)
	p.ok(p.f.WriteSettings())
	p.feedNone()
	if got := p.frames(); len(got) != 3 || got[0].Header().Type != xhttp2.FrameSettings || got[1].Header().Type != xhttp2.FrameWindowUpdate {
		t.Fatalf("first frames: %v", got)
	}
	return p
}

func newSilentPeer(t testing.TB, l http2.Limits) *peer {
	p := &peer{t: t, c: http2.New(l, 0), streams: map[uint32]*http2.Stream{}}
	p.f = xhttp2.NewFramer(&p.sent, nil)
	p.f.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.block)
	p.answers = xhttp2.NewFramer(io.Discard, &p.out)
	p.answers.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.answers.SetMaxReadFrameSize(16384)
	return p
}

func (p *peer) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// fields encodes pairs of names and values.
func (p *peer) fields(pairs ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		p.ok(p.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	return p.block.Bytes()
}

// get are the pseudo-fields of a plain request.
var get = []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "example.org"}

var post = []string{":method", "POST", ":scheme", "http", ":path", "/", ":authority", "example.org"}

func (p *peer) headers(id uint32, end bool, pairs ...string) {
	p.t.Helper()
	p.ok(p.f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: p.fields(pairs...), EndStream: end, EndHeaders: true}))
}

func (p *peer) data(id uint32, end bool, s string) {
	p.t.Helper()
	p.ok(p.f.WriteData(id, end, []byte(s)))
}

// feed passes everything that was written to the connection, and returns the events as lines.
func (p *peer) feed() (events []string, err error) {
	b := p.sent.Bytes()
	for {
		ev, n, err := p.c.Next(b, p.now)
		b = b[n:]
		if err != nil {
			return events, err
		}
		if ev.Kind == http2.EventNone {
			break
		}
		events = append(events, describe(ev))
		if ev.Kind == http2.EventRequest {
			p.streams[ev.Stream.ID] = ev.Stream
		}
	}
	if len(b) > 15 {
		p.t.Fatalf("%d bytes were not taken", len(b))
	}
	rest := bytes.Clone(b)
	p.sent.Reset()
	p.sent.Write(rest)
	return events, nil
}

func describe(ev http2.Event) string {
	switch ev.Kind {
	case http2.EventRequest:
		return fmt.Sprintf("request %d %q end=%v err=%v", ev.Stream.ID, ev.Stream.Head, ev.End, ev.Stream.Err)
	case http2.EventData:
		return fmt.Sprintf("data %d %q end=%v", ev.Stream.ID, ev.Data, ev.End)
	case http2.EventTrailers:
		return fmt.Sprintf("trailers %d %q", ev.Stream.ID, ev.Stream.Trailers)
	case http2.EventReset:
		return fmt.Sprintf("reset %d %v", ev.Stream.ID, ev.Code)
	case http2.EventWindow:
		if ev.Stream != nil {
			return fmt.Sprintf("window %d", ev.Stream.ID)
		}
		return "window"
	case http2.EventRefused:
		return "refused"
	}
	return "goaway"
}

func (p *peer) feedNone() {
	p.t.Helper()
	p.expect()
}

// expect calls feed and compares the events.
func (p *peer) expect(want ...string) {
	p.t.Helper()
	got, err := p.feed()
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		p.t.Fatalf("events:\n%s\nwant:\n%s\nerror: %v", strings.Join(got, "\n"), strings.Join(want, "\n"), err)
	}
}

// fails calls feed and expects that the connection ends with the given code and that GOAWAY contains it.
func (p *peer) fails(code http2.Code, limit http2.Limit) {
	p.t.Helper()
	_, err := p.feed()
	var failed *http2.ConnError
	if !errors.As(err, &failed) || failed.Code != code || failed.Limit != limit {
		p.t.Fatalf("error %v, want %v", err, code)
	}
	all := p.frames()
	last, ok := all[len(all)-1].(*xhttp2.GoAwayFrame)
	if !ok || http2.Code(last.ErrCode) != code {
		p.t.Fatalf("last frame %v, want GOAWAY with %v", all[len(all)-1], code)
	}
}

// frames returns the frames in the connection's output.
func (p *peer) frames() (all []xhttp2.Frame) {
	p.t.Helper()
	p.out.Write(p.c.TakeOutput(nil))
	for p.out.Len() > 0 {
		f, err := p.answers.ReadFrame()
		if err != nil {
			p.t.Fatalf("output: %v", err)
		}
		all = append(all, clone(f))
	}
	return all
}

// clone copies a frame, so that its contents outlive the next call of ReadFrame.
func clone(f xhttp2.Frame) xhttp2.Frame {
	if d, ok := f.(*xhttp2.DataFrame); ok {
		var b bytes.Buffer
		w := xhttp2.NewFramer(&b, &b)
		w.AllowIllegalWrites, w.AllowIllegalReads = true, true
		_ = w.WriteData(d.StreamID, d.StreamEnded(), bytes.Clone(d.Data()))
		f, _ = w.ReadFrame()
	}
	return f
}

// requestOf returns the stream of a request with this header.
func requestOf(t *testing.T, end bool, fields ...string) *http2.Stream {
	t.Helper()
	p := newPeer(t, http2.Limits{})
	p.headers(1, end, fields...)
	if _, err := p.feed(); err != nil {
		t.Fatal(err)
	}
	return p.streams[1]
}

// outcome describes the frames in the connection's output.
func (p *peer) outcome() (lines []string) {
	p.t.Helper()
	for _, f := range p.frames() {
		switch f := f.(type) {
		case *xhttp2.MetaHeadersFrame:
			line := fmt.Sprintf("HEADERS %d end=%v", f.StreamID, f.StreamEnded())
			for _, h := range f.Fields {
				line += fmt.Sprintf(" %s=%s", h.Name, h.Value)
			}
			lines = append(lines, line)
		case *xhttp2.DataFrame:
			lines = append(lines, fmt.Sprintf("DATA %d %d end=%v", f.StreamID, len(f.Data()), f.StreamEnded()))
		case *xhttp2.RSTStreamFrame:
			lines = append(lines, fmt.Sprintf("RST_STREAM %d %v", f.StreamID, http2.Code(f.ErrCode)))
		case *xhttp2.WindowUpdateFrame:
			lines = append(lines, fmt.Sprintf("WINDOW_UPDATE %d %d", f.StreamID, f.Increment))
		case *xhttp2.GoAwayFrame:
			lines = append(lines, fmt.Sprintf("GOAWAY %d %v", f.LastStreamID, http2.Code(f.ErrCode)))
		case *xhttp2.PingFrame:
			lines = append(lines, fmt.Sprintf("PING ack=%v %q", f.IsAck(), f.Data[:]))
		case *xhttp2.SettingsFrame:
			lines = append(lines, fmt.Sprintf("SETTINGS ack=%v", f.IsAck()))
		}
	}
	return lines
}

func (p *peer) expectOut(want ...string) {
	p.t.Helper()
	if got := p.outcome(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		p.t.Fatalf("put out:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
