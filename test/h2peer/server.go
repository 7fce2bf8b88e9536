package h2peer

import (
	"crypto/tls"
	"io"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Server accepts connections and hands their streams to a function.
type Server struct {
	options Options
	admit   func(*Stream, []hpack.HeaderField) bool
	handle  func(*Stream, []hpack.HeaderField)
	ln      net.Listener
	running sync.WaitGroup

	mu      sync.Mutex
	stopped bool           // guarded by mu
	conns   map[*Conn]bool // guarded by mu
}

// Serve starts a server on a free loopback port. handle is called for each request, in its own goroutine, with the fields of the request.
// If the stream has not ended when handle returns, it is reset. admit is called before handle, in the order in which the streams of a
// connection begin. If admit returns false, the stream is ignored: admit has refused the stream, or has sent GOAWAY. admit may be nil.
func Serve(o Options, admit func(*Stream, []hpack.HeaderField) bool, handle func(*Stream, []hpack.HeaderField)) (*Server, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, admit: admit, handle: handle, ln: ln, conns: map[*Conn]bool{}}
	s.running.Go(s.accept)
	return s, nil
}

// Addr returns the address of the server.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// URL returns the address as the URL of an upstream.
func (s *Server) URL() string {
	if s.options.TLS != nil {
		return "https://" + s.Addr()
	}
	return "h2c://" + s.Addr()
}

// Stop closes all connections and waits for the functions that handle streams.
func (s *Server) Stop() {
	_ = s.ln.Close()
	s.mu.Lock()
	s.stopped = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.running.Go(func() { s.serve(conn) })
	}
}

func (s *Server) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if s.options.TLS != nil {
		config := s.options.TLS.Clone()
		config.NextProtos = []string{"h2"}
		encrypted := tls.Server(conn, config)
		if encrypted.Handshake() != nil {
			return
		}
		conn = encrypted
	}
	c := newConn(conn, s.options, s)
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return
	}
	s.conns[c] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	c.write(func() error { return c.settings() })
	c.read()
}

// accept begins a stream, unless GOAWAY has been sent.
func (c *Conn) accept(id uint32, fields []hpack.HeaderField, end bool) {
	c.mu.Lock()
	if id <= c.last || c.draining {
		c.mu.Unlock()
		return // trailers of a stream that has ended, or a stream that GOAWAY excludes
	}
	c.last = id
	s := c.newStream(id)
	s.ended = end
	c.mu.Unlock()
	if c.serving.admit != nil && !c.serving.admit(s, fields) {
		s.fail(io.ErrClosedPipe)
		return
	}
	c.serving.running.Go(func() {
		c.serving.handle(s, fields)
		c.mu.Lock()
		complete, open := s.sentEnd, s.err == nil && !(s.ended && s.sentEnd)
		c.mu.Unlock()
		switch {
		case open && complete:
			s.Reset(http2.ErrCodeNo) // the rest of the request is not needed (RFC 9113, section 8.1)
		case open:
			s.Reset(http2.ErrCodeInternal)
		}
	})
}
