package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/proxy/certs"
	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/http2"
	"github.com/wayside-proxy/wayside/proxy/loop"
)

// This file serves client connections: it reads request after request and closes the connection. It also contains Shutdown.

const (
	clientReadBytes = 4 << 10 // buffer size of a client connection's reader; a header may be larger, and pieces of bodies are read directly
	emptyLinesMax   = 8       // maximum number of empty lines between two requests
)

// Shutdown stops accepting connections and lets requests in progress finish; their responses have "Connection: close". It closes idle
// connections after Options.DrainGrace, ends streams when nothing else is left, and returns when all connections have been closed. If ctx
// ends first, it closes the remaining connections immediately, records how far their responses got, and returns ctx's error. A Proxy cannot
// be used again afterwards.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.closing.Store(true)
	p.mu.Lock()
	for a := range p.listeners {
		if err := a.stop(); err != nil {
			p.current.Load().o.Logger.Warn("cannot empty the listener's queue; resetting the connections in it", "listen", a.Addr().String(), "error", err)
		}
	}
	p.mu.Unlock()
	err := p.drain(ctx)
	if err != nil {
		p.sweeper.closeAll()
		p.awaitIdle()
	}
	p.reloading.Lock()
	for _, g := range p.groupsByName {
		g.close()
	}
	p.reloading.Unlock()
	p.ending.Do(func() {
		close(p.stop)
		p.cancel()
		p.drivers.stop()
	})
	p.background.Wait()
	return err
}

// tick is called a few times a second. It reports whether it must be called even if there are no connections.
func (p *Proxy) tick() (needed bool) {
	defer p.current.Load().recoverPanic("tick")
	p.evict()
	p.watch.check(p)
	p.setDate()
	return p.reportHealth()
}

// setDate sets the value of Date to the current second.
func (p *Proxy) setDate() {
	b := time.Now().UTC().AppendFormat(nil, http.TimeFormat)
	p.dateLine.Store(&b)
}

// date returns the value of the Date field for the current second.
func (p *Proxy) date() []byte { return *p.dateLine.Load() }

// largeHeads contains buffers for headers that do not fit into a reader's buffer. Without the pool, a client that sends many such headers would keep
// the garbage collector busy.
var largeHeads = sync.Pool{New: func() any { b := make([]byte, 0, largeHeadBytes); return &b }}

const largeHeadBytes = 32<<10 + clientReadBytes // the default of MaxHeaderBytes plus one read

// appendRaw adds b to the bytes of the header.
func appendRaw(h *http1.Request, b []byte) {
	switch need := len(h.Raw) + len(b); {
	case need <= cap(h.Raw) || need <= clientReadBytes:
	case need <= largeHeadBytes:
		h.Raw = append(*largeHeads.Get().(*[]byte), h.Raw...) //nolint:forcetypeassert // the pool contains nothing else
	default:
		h.Raw = slices.Grow(h.Raw, max(len(b), cap(h.Raw)))
	}
	h.Raw = append(h.Raw, b...)
}

// release returns a large buffer to the pool. Nothing may use its contents afterwards.
func release(h *http1.Request) {
	if cap(h.Raw) == largeHeadBytes {
		raw := h.Raw[:0]
		largeHeads.Put(&raw)
	}
	if cap(h.Raw) > scratchBytesKept {
		h.Raw = nil
	}
}

// readers contains readers for client connections.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, clientReadBytes) }}

// start serves the connection until one side closes it, in a task or goroutine of its own: start itself does not block.
func (c *clientConn) start() {
	if conn, ok := c.Conn.(*loop.Conn); ok {
		conn.Start(func() { c.park(conn) })
	} else if c.kind == listenerTLS {
		c.awaitHello()
		go c.serveTLS()
	} else {
		go c.withReader(c.serve)
	}
}

// withReader gives the connection a reader and an exchange while f runs. If f returns false, it closes the connection.
func (c *clientConn) withReader(f func() (more bool)) {
	more := false
	c.br = readers.Get().(*bufio.Reader)
	c.br.Reset(c)
	c.x = exchanges.Get().(*exchange)
	c.x.attach(c)
	defer func() {
		c.recovered(recover()) // for panics outside of a request; exchange.finish recovers from those within one
		if !more {
			_ = c.Close()
		}
		c.x.req.end()
		c.share.release()
		c.x.attach(nil)
		exchanges.Put(c.x)
		c.br.Reset(nil)
		readers.Put(c.br)
		c.x, c.br = nil, nil
	}()
	more = f()
}

// recovered logs a recovered panic. r is nil if there was none.
func (c *clientConn) recovered(r any) {
	if r != nil {
		c.root.current.Load().o.Logger.Error("panic on a client connection; closing it", "value", r, "stack", string(debug.Stack()))
	}
}

// serve handles request after request until the connection has to be closed. On an event loop, it returns true when it would have to wait
// for the next request, so that an idle connection needs neither a task nor buffers.
func (c *clientConn) serve() (more bool) {
	if c.headerDue {
		if !c.receiveHeader() {
			return false
		}
		if c.parks() {
			return true
		}
	}
	for c.h2 == nil && c.serveRequest() {
		if c.parks() {
			return true
		}
	}
	return c.h2 != nil && c.h2.serve()
}

// parks calls park if the connection is idle and belongs to an event loop. It reports whether it has done so.
func (c *clientConn) parks() bool {
	conn, ok := c.Conn.(*loop.Conn)
	if !ok || c.br.Buffered() > 0 {
		return false
	}
	c.park(conn)
	return true
}

// park hands the connection to its event loop, which resumes serving when the next request arrives.
func (c *clientConn) park(conn *loop.Conn) {
	c.parked = true
	c.armIdle(phase(c.phase.Load()))
	c.reading.begin(c.root.sweeper.now.Load())
	c.wakeToServe(conn)
}

// wakeToServe makes the loop resume serving the connection when there is something to read.
func (c *clientConn) wakeToServe(conn *loop.Conn) {
	if c.unpark == nil {
		serve := func() { c.withReader(c.serve) }
		c.unpark = func() { c.driver.run(serve) }
	}
	conn.OnReady(c.unpark)
}

// serveRequest reads and handles one request. It reports whether another one may follow.
func (c *clientConn) serveRequest() bool {
	x := c.x
	x.begin()
	err := c.readHead()
	switch {
	case err == errNoRequest:
		return true
	case err == errPreface && c.refusal == failNone:
		c.beginHTTP2(len(http2.PrefaceHead))
		return true
	}
	if err != nil && len(x.req.Raw) == 0 {
		return false // no byte of a request has arrived, so there is nothing to respond to
	}
	if !c.phase.CompareAndSwap(uint32(phaseHeader), uint32(phaseBody)) {
		return false
	}
	if now := c.root.current.Load(); now != c.gen {
		c.useGeneration(now)
		x.req.route = now.standard
	}
	switch {
	case err != nil:
		c.refuse(err)
	case c.refusal != failNone:
		x.out, _ = x.appendRequestHead(x.out[:0]) // so that the request's parts are recorded
		x.ev.describe(&x.req)
		x.refuse(c.refusal)
	default:
		x.handle()
	}
	if x.reply.closeAfter {
		c.finish(false)
		return false
	}
	c.answered.Store(true)
	c.emptyLines = 0
	c.phase.CompareAndSwap(uint32(phaseBody), uint32(phaseIdle))
	return true
}

// refuse responds to a request whose header did not arrive completely.
func (c *clientConn) refuse(err error) {
	x := c.x
	x.ev.describe(&x.req)
	f := headFailure(err)
	if c.failed.Load() && f == failBadRequest {
		f = failClientClosed
	}
	x.refuse(f)
}

// errNoRequest means that only empty lines have arrived.
var errNoRequest = errors.New("no request")

// readHead reads a header block into x.req.Raw. It skips empty lines before the block, because some clients send one after a body (RFC 9112, section
// 2.2). If nothing follows them, the connection is idle again.
func (c *clientConn) readHead() error {
	h := &c.x.req.Request
	if c.br.Buffered() > 0 { // the request is pipelined
		c.headerDeadline = c.gen.sweeper.after(c.gen.o.HeaderTimeout)
		c.phase.CompareAndSwap(uint32(phaseIdle), uint32(phaseHeader))
	}
	for at := 0; ; {
		if _, err := c.br.Peek(1); err != nil {
			return err
		}
		b, err := c.br.Peek(c.br.Buffered())
		if err != nil {
			return err
		}
		old := len(h.Raw)
		appendRaw(h, b)
		if cap(h.Raw) > headBytesFree && !c.holdUpTo(cap(h.Raw)) {
			_ = h.ParseLine() // so that its parts are recorded
			return errMemory
		}
		if first := h.Raw[0]; !http1.IsToken(first) && first != '\r' {
			return http1.ErrSyntax // this is not HTTP, perhaps TLS
		}
		end, next := http1.BlockEnd(h.Raw, at)
		if end == 0 {
			_, _ = c.br.Discard(len(b))
			c.x.at.beginRequest()
			if at = next; len(h.Raw) > c.gen.o.MaxHeaderBytes {
				return tooLarge(h, c.gen.o.MaxHeaderBytes)
			}
			continue
		}
		_, _ = c.br.Discard(end - old)
		if end == 2 && c.emptyLines < emptyLinesMax {
			c.emptyLines++
			if at, h.Raw = 0, h.Raw[:0]; c.br.Buffered() > 0 {
				continue
			}
			before := phaseNew
			if c.answered.Load() {
				before = phaseIdle
			}
			c.phase.CompareAndSwap(uint32(phaseHeader), uint32(before))
			return errNoRequest
		}
		if h.Raw = h.Raw[:end]; end > c.gen.o.MaxHeaderBytes {
			return tooLarge(h, c.gen.o.MaxHeaderBytes)
		}
		if end == len(http2.PrefaceHead) && string(h.Raw) == http2.PrefaceHead && c.mayBeHTTP2() {
			return errPreface
		}
		return nil
	}
}

// mayBeHTTP2 reports whether the client may speak HTTP/2: only from the beginning of the connection and, over TLS, only if that was negotiated (RFC
// 9113, section 3.2).
func (c *clientConn) mayBeHTTP2() bool {
	if c.answered.Load() || c.gen.o.HTTP2.Off || c.refusal != failNone || c.kind == listenerRedirect {
		return false
	}
	t, ok := c.Conn.(*clientTLS)
	return !ok || t.ConnectionState().NegotiatedProtocol == certs.ProtocolHTTP2
}

// tooLarge returns the error for a header that is too large. It distinguishes a request line that exceeds the limit by itself from a
// header with too many fields.
func tooLarge(h *http1.Request, limit int) error {
	if i := bytes.IndexByte(h.Raw, '\n'); i < 0 || i >= limit {
		return http1.ErrTargetSize
	}
	_ = h.ParseLine() // so that its parts are recorded
	return http1.ErrHeaderSize
}
