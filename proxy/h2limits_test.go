package proxy

import (
	"bufio"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/wayside-proxy/wayside/internal/event"
	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func TestHTTP2StreamLimit(t *testing.T) {
	entered := make(chan struct{}, 9)
	b := start(t, origin(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
	}), func(o *Options) { o.HTTP2.StreamsMax = 2 })
	b.responses = 2
	c := b.dialH2()
	for id := uint32(1); id <= 5; id += 2 {
		c.request(id, true, "GET", "/")
	}
	if f := c.next(xhttp2.FrameRSTStream).(*xhttp2.RSTStreamFrame); f.ErrCode != xhttp2.ErrCodeRefusedStream || f.StreamID != 5 {
		t.Error(f)
	}
	<-entered
	<-entered
	if n := b.p.Metrics().HTTP2Limits["streams"]; n != 1 {
		t.Error(n)
	}
	_ = c.conn.Close()
	b.books.wait(t, 2)
}

// TestHTTP2StreamsOfAllConnections: the limit for connections applies to requests in progress, too, and one address cannot use all of
// it.
func TestHTTP2StreamsOfAllConnections(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Options)
		kind   string
	}{
		"address": {func(*Options) {}, "address_connections_max"},
		"all":     {func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }, "connections_max"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, origin(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), func(o *Options) {
				o.MaxConns = 16
				test.change(o)
			})
			b.responses = 20
			one, two := b.dialH2(), b.dialH2()
			for id := uint32(1); id <= 19; id += 2 {
				one.request(id, true, "GET", "/")
				two.request(id, true, "GET", "/")
			}
			if e := b.books.wait(t, 1)[0]; e.Status != 503 || string(e.ErrorType) != test.kind || string(e.Protocol) != "2" {
				t.Errorf("%+v", e)
			}
			for _, c := range []*h2Client{one, two} {
				c.ok(c.f.WritePing(false, [8]byte{1}))
				c.next(xhttp2.FramePing)
				_ = c.conn.Close()
			}
			b.books.wait(t, 20)
		})
	}
}

// TestHTTP2RapidReset: a rapid reset ends the connection, and no more requests reach the service than streams may be open at a time.
func TestHTTP2RapidReset(t *testing.T) {
	b := start(t, origin(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), func(o *Options) { o.HTTP2.ResetsMax = 1 })
	b.responses = -1
	c := b.dialH2()
	go func() {
		for id := uint32(1); id < 1000; id += 2 {
			c.block.Reset()
			for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}} {
				_ = c.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
			}
			if c.f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndStream: true, EndHeaders: true}) != nil ||
				c.f.WriteRSTStream(id, xhttp2.ErrCodeCancel) != nil {
				return
			}
		}
	}()
	if f := c.next(xhttp2.FrameGoAway).(*xhttp2.GoAwayFrame); f.ErrCode != xhttp2.ErrCodeEnhanceYourCalm {
		t.Error(f)
	}
	c.eof()
	if n := b.p.Metrics().HTTP2Limits["resets"]; n != 1 {
		t.Error(n)
	}
}

// TestHTTP2HeldBytes: bodies that the service does not read count towards the memory of the client's address.
func TestHTTP2HeldBytes(t *testing.T) {
	release := make(chan struct{})
	b := start(t, rawOrigin(t, func(net.Conn, *bufio.Reader) { <-release }), func(o *Options) { o.MaxHeldBytes = 32 << 10 })
	defer close(release)
	b.responses = -1
	c := b.dialH2()
	for id := uint32(1); id <= 9; id += 2 {
		c.request(id, false, "POST", "/")
		c.ok(c.f.WriteData(id, false, make([]byte, 16000)))
	}
	events := b.books.wait(t, 1)
	if e := events[0]; e.Status != 503 || string(e.ErrorType) != "memory_max" {
		t.Errorf("%+v", e)
	}
	c.ok(c.f.WritePing(false, [8]byte{1}))
	c.next(xhttp2.FramePing) // all requests have arrived
	_ = c.conn.Close()
	b.books.wait(t, 5)
	until(t, "no byte is counted", func() bool { return b.p.held.Load() == 0 })
}

// readCounter counts the reads of the connections that it accepts.
type readCounter struct {
	net.Listener
	reads atomic.Int64
}

func (l *readCounter) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedReads{conn.(*net.TCPConn), &l.reads}, nil
}

type countedReads struct {
	*net.TCPConn
	reads *atomic.Int64
}

func (c *countedReads) Read(b []byte) (int, error) {
	c.reads.Add(1)
	return c.TCPConn.Read(b)
}

// gatedBooks keeps the task of each stream waiting at its end.
type gatedBooks struct {
	Recorder
	gate chan struct{}
}

func (g *gatedBooks) Record(e *event.Event) {
	<-g.gate
	g.Recorder.Record(e)
}

// TestHTTP2LingerWaits: after a connection error, the proxy waits for the client. Streams that end meanwhile must not turn that wait into
// a busy loop.
func TestHTTP2LingerWaits(t *testing.T) {
	entered, gate := make(chan struct{}), make(chan struct{})
	b := start(t, origin(t, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}), func(o *Options) { o.Recorder = &gatedBooks{o.Recorder, gate} })
	b.responses = 1
	counted := &readCounter{}
	b.serveToo(func(ln net.Listener) net.Listener { counted.Listener = ln; return counted })
	c := b.dialH2()
	c.request(1, true, "GET", "/")
	<-entered
	c.ok(c.f.WriteData(0, false, nil)) // DATA belongs to a stream
	for err := error(nil); err == nil; {
		_, err = c.f.ReadFrame()
	}
	before := counted.reads.Load()
	close(gate)
	until(t, "the connection is closed", func() bool { return b.p.Metrics().ClientConns == 0 })
	if n := counted.reads.Load() - before; n > 100 { // a read ends at every tick of the sweeper
		t.Errorf("%d reads from a silent client", n)
	}
}
