// Package h2peer is one side of an HTTP/2 connection, for tests that must decide what happens to each stream. It can reset streams, send
// GOAWAY, disconnect, send malformed fields, and report which requests the other side has not processed. It never repeats a request, and
// does not check what it sends.
package h2peer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Options configure a connection. The zero value of a field means its default.
type Options struct {
	TLS     *tls.Config   // nil: cleartext
	Window  uint32        // bytes of each stream that the other side may send before they are read; default 256 KiB
	Streams uint32        // number of streams that the other side may open; default 100
	Timeout time.Duration // limit for a whole stream, and for the other side to read a frame; default one minute
}

// Errors of streams and connections.
var (
	// ErrNotProcessed means that the other side has not processed the request, so a client may repeat it. The other side has refused the
	// stream, or has sent GOAWAY with the number of an earlier stream (RFC 9113, sections 6.8 and 8.7).
	ErrNotProcessed = errors.New("the request was not processed")
	// ErrGoAway means that no stream was opened, because the other side has sent GOAWAY.
	ErrGoAway = errors.New("the connection accepts no further streams")
	// ErrTimeout means that a stream did not end in time.
	ErrTimeout = errors.New("the stream has not ended in time")
)

// ResetError is the error of a stream that the other side has reset.
type ResetError struct{ Code http2.ErrCode }

func (e ResetError) Error() string { return "reset with " + e.Code.String() }

// Fields makes a list of fields from names and values.
func Fields(pairs ...string) []hpack.HeaderField {
	list := make([]hpack.HeaderField, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return list
}

// Value returns the value of the first field with this name.
func Value(fields []hpack.HeaderField, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Conn is a connection.
type Conn struct {
	conn    net.Conn
	options Options
	serving *Server // nil for clients
	framer  *http2.Framer

	writing sync.Mutex // guards the fields up to the blank line, and the order in which streams begin
	out     *bufio.Writer
	block   bytes.Buffer
	encoder *hpack.Encoder

	mu         sync.Mutex // guards the fields below, and the streams
	streams    map[uint32]*Stream
	next       uint32 // number of the client's next stream
	last       uint32 // number of the last stream that the server has accepted
	draining   bool   // whether no further streams may begin, because of a GOAWAY from either side
	window     int64  // bytes that may be sent on all streams together
	first      int64  // window of a new stream
	credit     uint32 // bytes received for which the window of the connection has not been opened again
	closing    bool   // whether this side has been closed because no stream is left
	err        error  // why the connection has ended
	goAwayCode http2.ErrCode
}

// connWindow is the window that the other side has for all streams together.
const connWindow = 16 << 20

// Dial opens a connection as a client. With TLS, the server must choose HTTP/2.
func Dial(ctx context.Context, addr string, o Options) (*Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil {
		config := o.TLS.Clone()
		config.NextProtos = []string{"h2"}
		encrypted := tls.Client(conn, config)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		if got := encrypted.ConnectionState().NegotiatedProtocol; got != "h2" {
			_ = conn.Close()
			return nil, fmt.Errorf("the server chose the protocol %q", got)
		}
		conn = encrypted
	}
	c := newConn(conn, o, nil)
	c.write(func() error {
		if _, err := io.WriteString(c.out, http2.ClientPreface); err != nil {
			return err
		}
		return c.settings(http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	})
	go c.read()
	return c, nil
}

func newConn(conn net.Conn, o Options, s *Server) *Conn {
	if o.Window == 0 {
		o.Window = 256 << 10
	}
	if o.Streams == 0 {
		o.Streams = 100
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	c := &Conn{conn: conn, options: o, serving: s, streams: map[uint32]*Stream{}, next: 1, window: 65535, first: 65535}
	c.out = bufio.NewWriterSize(conn, 32<<10)
	c.encoder = hpack.NewEncoder(&c.block)
	c.framer = http2.NewFramer(c.out, bufio.NewReaderSize(conn, 32<<10))
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.MaxHeaderListSize = 1 << 20
	c.framer.AllowIllegalWrites = true
	return c
}

// settings writes SETTINGS, and opens the window of the connection. The caller holds writing.
func (c *Conn) settings(more ...http2.Setting) error {
	more = append(more, http2.Setting{ID: http2.SettingInitialWindowSize, Val: c.options.Window},
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: c.options.Streams})
	return errors.Join(c.framer.WriteSettings(more...), c.framer.WriteWindowUpdate(0, connWindow-65535))
}

// write writes frames. If the other side does not read them in time, the connection ends. Other errors are ignored: the reader notices
// the end of the connection, after it has read everything that arrived before the end.
func (c *Conn) write(frames func() error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.options.Timeout))
	err := frames()
	if err == nil {
		err = c.out.Flush()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.end(err)
	}
}

// headers writes a field block. The caller holds writing.
func (c *Conn) headers(id uint32, fields []hpack.HeaderField, end bool) error {
	c.block.Reset()
	for _, f := range fields {
		if err := c.encoder.WriteField(f); err != nil {
			return err
		}
	}
	rest := c.block.Bytes()
	piece := func() []byte {
		p := rest[:min(len(rest), 16<<10)]
		rest = rest[len(p):]
		return p
	}
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: piece(), EndStream: end, EndHeaders: len(rest) == 0})
	for err == nil && len(rest) > 0 {
		err = c.framer.WriteContinuation(id, len(rest) <= 16<<10, piece())
	}
	return err
}

// read reads frames until the connection ends.
func (c *Conn) read() {
	for {
		f, err := c.framer.ReadFrame()
		var broken http2.StreamError
		switch {
		case errors.As(err, &broken):
			c.mu.Lock()
			s := c.streams[broken.StreamID]
			c.mu.Unlock()
			if s != nil {
				s.fail(fmt.Errorf("malformed frame: %w", err))
			}
			c.write(func() error { return c.framer.WriteRSTStream(broken.StreamID, broken.Code) })
		case err != nil:
			c.end(err)
			return
		default:
			c.frame(f)
		}
	}
}

// end marks the connection and all its streams as ended.
func (c *Conn) end(err error) {
	_ = c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		if c.err = err; c.goAwayCode != http2.ErrCodeNo {
			c.err = fmt.Errorf("GOAWAY with %v: %w", c.goAwayCode, err)
		}
	}
	for _, s := range c.streams {
		s.failLocked(fmt.Errorf("the connection ended: %w", c.err))
	}
}

func (c *Conn) frame(f http2.Frame) {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			c.applySettings(f)
			c.write(c.framer.WriteSettingsAck)
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			c.write(func() error { return c.framer.WritePing(true, f.Data) })
		}
	case *http2.GoAwayFrame:
		c.receivedGoAway(f)
	case *http2.WindowUpdateFrame:
		c.widen(f)
	case *http2.MetaHeadersFrame:
		c.receivedHeaders(f)
	case *http2.DataFrame:
		c.receivedData(f)
	case *http2.RSTStreamFrame:
		if s := c.stream(f.StreamID); s != nil {
			err := error(ResetError{f.ErrCode})
			if f.ErrCode == http2.ErrCodeRefusedStream {
				err = fmt.Errorf("%w: %w", ErrNotProcessed, err)
			}
			s.fail(err)
		}
	}
}

func (c *Conn) stream(id uint32) *Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

func (c *Conn) applySettings(f *http2.SettingsFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
		for _, s := range c.streams {
			s.window += int64(v) - c.first
			s.cond.Broadcast()
		}
		c.first = int64(v)
	}
}

func (c *Conn) receivedGoAway(f *http2.GoAwayFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining, c.goAwayCode = true, f.ErrCode
	if c.serving != nil {
		return
	}
	for id, s := range c.streams {
		if id > f.LastStreamID {
			s.failLocked(fmt.Errorf("%w: GOAWAY with %v", ErrNotProcessed, f.ErrCode))
		}
	}
	c.closeIfDone()
}

func (c *Conn) widen(f *http2.WindowUpdateFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		c.window += int64(f.Increment)
		for _, s := range c.streams {
			s.cond.Broadcast()
		}
	} else if s := c.streams[f.StreamID]; s != nil {
		s.window += int64(f.Increment)
		s.cond.Broadcast()
	}
}

func (c *Conn) receivedHeaders(f *http2.MetaHeadersFrame) {
	fields := make([]hpack.HeaderField, len(f.Fields))
	copy(fields, f.Fields)
	if s := c.stream(f.StreamID); s != nil {
		s.received(func() { s.blocks = append(s.blocks, fields) }, f.StreamEnded())
		return
	}
	if c.serving != nil {
		c.accept(f.StreamID, fields, f.StreamEnded())
	}
}

func (c *Conn) receivedData(f *http2.DataFrame) {
	c.mu.Lock()
	c.credit += f.Length
	credit := c.credit
	if credit >= connWindow/4 {
		c.credit = 0
	}
	c.mu.Unlock()
	if credit >= connWindow/4 {
		c.write(func() error { return c.framer.WriteWindowUpdate(0, credit) })
	}
	if s := c.stream(f.StreamID); s != nil {
		s.received(func() { s.data = append(s.data, f.Data()...) }, f.StreamEnded())
	}
}

// Open opens a stream as a client. If the other side has already sent GOAWAY, nothing is sent, and the error is ErrGoAway.
func (c *Conn) Open(fields []hpack.HeaderField, end bool) (*Stream, error) {
	var s *Stream
	var err error
	c.write(func() error {
		c.mu.Lock()
		switch {
		case c.draining:
			err = ErrGoAway
		case c.err != nil:
			err = c.err
		default:
			s = c.newStream(c.next)
			s.sentEnd = end
			c.next += 2
		}
		c.mu.Unlock()
		if err != nil {
			return err
		}
		return c.headers(s.ID, fields, end)
	})
	return s, err
}

// GoAway sends GOAWAY. last is the last stream that this side processes. A server may send the number of a stream that is being admitted,
// or of an earlier stream, only from its admit function, because otherwise later streams may already have begun. The connection is closed
// when all streams have ended.
func (c *Conn) GoAway(last uint32, code http2.ErrCode) {
	c.mu.Lock()
	c.draining = true
	c.mu.Unlock()
	c.write(func() error { return c.framer.WriteGoAway(last, code, nil) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeIfDone()
}

// Drain sends GOAWAY as a server: every stream that has begun is still processed.
func (c *Conn) Drain() {
	c.mu.Lock()
	c.draining = true
	last := c.last
	c.mu.Unlock()
	c.GoAway(last, http2.ErrCodeNo)
}

// closeIfDone closes this side of a connection on which no stream is left or can begin. The caller holds mu.
func (c *Conn) closeIfDone() {
	if !c.draining || len(c.streams) > 0 || c.closing {
		return
	}
	c.closing = true
	go func() { // the caller holds a lock
		c.writing.Lock()
		defer c.writing.Unlock()
		_ = c.conn.SetReadDeadline(time.Now().Add(c.options.Timeout))
		// If the connection was closed with unread bytes, the other side could lose bytes that it has not read.
		_ = c.conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
}

// Close closes the connection immediately.
func (c *Conn) Close() { c.end(net.ErrClosed) }

// Err returns why the connection has ended, or nil. A GOAWAY is not such a reason; Open reports it.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Write writes raw bytes instead of frames.
func (c *Conn) Write(p []byte) (int, error) {
	c.write(func() error { _, err := c.out.Write(p); return err })
	return len(p), nil
}
