package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/http2"
	"github.com/wayside-proxy/wayside/proxy/loop"
)

// This file serves client connections that speak HTTP/2. A task reads frames and passes them to the state machine in package http2. Each
// stream is served by its own clientConn and exchange, like an HTTP/1.1 connection with a single request: the stream is its net.Conn
// (h2stream.go). Another task writes frames; it collects the pending output of all streams (h2write.go).

const (
	// h2ReadBytes is the size of the buffer for received frames. A connection has such a buffer only while it is reading.
	h2ReadBytes = 16 << 10
	// h2QueueBytes is how much output may be waiting before streams that want to add more must wait.
	h2QueueBytes = 16 << 10
	// h2RestBytes is the size of the buffer for bytes that http2.Conn.Next has not consumed.
	h2RestBytes = 16
)

// h2Conn is a client connection that speaks HTTP/2. Fields are guarded by mu unless their comment says otherwise. Nothing waits while mu is held.
type h2Conn struct {
	c *clientConn // the connection; not guarded

	mu       sync.Mutex
	m        *http2.Conn
	model    *clientConn // contains the values that the clientConns of all streams share within one generation
	open     map[*h2Stream]struct{}
	begun    []*h2Stream // streams to start
	deadline int64       // deadline of the preface or the field block that is being received; 0 if there is none
	failed   bool        // the connection is lost, or finish is ending it: nothing more is written
	held     int64       // counted bytes of an unfinished field block
	leaving  bool        // the client has been told that the proxy is shutting down
	shut     bool        // the write side has been closed

	flushing  bool   // flush is running, or will run soon
	flushed   signal // set at the end of flush; nil if no task is waiting
	spare     []byte // a buffer for output
	flushTask func() // runs flush; not guarded
	ends      int64  // number of responses whose ends are in the output

	rest     [h2RestBytes]byte // bytes that have arrived but cannot be parsed yet; belongs to the reading task, like the next three fields
	restLen  int
	starting []*h2Stream // streams being started
	resumed  bool        // on an event loop: continue reading
}

// h2Buffers contains *[]byte values of length h2ReadBytes.
var h2Buffers = sync.Pool{New: func() any { b := make([]byte, h2ReadBytes); return &b }}

// errPreface means that the client speaks HTTP/2: it has sent the first part of the preface.
var errPreface = errors.New("HTTP/2")

// beginHTTP2 continues a connection as HTTP/2, after the first n bytes of the preface.
func (c *clientConn) beginHTTP2(n int) {
	o := &c.gen.o.HTTP2
	h := &h2Conn{c: c, open: make(map[*h2Stream]struct{}), m: http2.New(http2.Limits{
		Streams: o.StreamsMax, HeaderBytes: c.gen.o.MaxHeaderBytes, StreamWindow: o.WindowBytes, ConnWindow: 8 * o.WindowBytes,
		Resets:  http2.Budget{Burst: 5 * o.ResetsMax, PerSecond: o.ResetsMax},
		Control: http2.Budget{Burst: 10 * o.FramesMax, PerSecond: o.FramesMax},
	}, n)}
	h.flushTask = h.flush
	c.root.mu.Lock()
	c.h2 = h
	c.root.mu.Unlock()
	c.root.metrics.h2Conns.Add(1)
}

// serve reads frames until the connection ends. On an event loop, it returns true whenever it would have to wait.
func (h *h2Conn) serve() (more bool) {
	defer h.endPanic()
	c := h.c
	loan := h2Buffers.Get().(*[]byte)
	defer h2Buffers.Put(loan)
	buf := *loan
	n := copy(buf, h.rest[:h.restLen])
	if early := c.br.Buffered(); early > 0 {
		early, _ = io.ReadFull(c.br, buf[n:n+early])
		n += early
	}
	for read := h.resumed; ; read = true {
		if read {
			got, err := h.read(buf[n:])
			if n += got; err != nil {
				h.lost(err, buf)
				return false
			}
		}
		used, err := h.take(buf[:n])
		n = copy(buf, buf[used:n])
		if err != nil {
			h.finish(buf)
			return false
		}
		if conn, ok := c.Conn.(*loop.Conn); ok {
			h.restLen, h.resumed = copy(h.rest[:], buf[:n]), true
			c.wakeToServe(conn)
			return true
		}
	}
}

// read waits for bytes until the deadline that arm has set.
func (h *h2Conn) read(b []byte) (int, error) {
	c := h.c
	if c.gaveWay.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := c.Conn.Read(b)
	if n == 0 {
		return 0, err
	}
	c.reading.waited.Store(0)
	c.reading.end(c.root.sweeper.now.Load(), n)
	if ph := phase(c.phase.Load()); ph == phaseIdle && !c.phase.CompareAndSwap(uint32(ph), uint32(phaseHeader)) {
		return 0, net.ErrClosed // a shutdown has just closed the connection, which was idle
	}
	return n, nil
}

// take passes bytes to the state machine, and starts the new streams. An error ends the connection.
func (h *h2Conn) take(b []byte) (used int, err error) {
	used, err = h.advance(b)
	for i, st := range h.starting {
		h.starting[i] = nil
		st.start()
	}
	return used, err
}

// advance passes bytes to the state machine, and fills starting.
func (h *h2Conn) advance(b []byte) (used int, err error) {
	now := time.Duration(h.c.root.sweeper.now.Load())
	h.mu.Lock()
	defer h.mu.Unlock() // even after a panic, because the tasks of the streams need the lock to end
	for {
		ev, n, failed := h.m.Next(b[used:], now)
		used += n
		if failed != nil {
			err = failed
			h.noteError(failed)
			break
		}
		if ev.Kind == http2.EventNone {
			break
		}
		h.event(ev)
	}
	if !h.hold(int64(h.m.Held())) && err == nil {
		err = errMemory
		h.m.Leave()
	}
	h.arm()
	h.flushSoon()
	if h.done() {
		h.leave()
	}
	h.starting = append(h.starting[:0], h.begun...)
	clear(h.begun)
	h.begun = h.begun[:0]
	return used, err
}

// hold sets the number of counted bytes of an unfinished field block to n, and reports whether that many are allowed. The caller must
// hold mu.
func (h *h2Conn) hold(n int64) bool {
	if n -= headBytesFree; n < 0 {
		n = 0
	}
	if n > h.held && !h.c.share.reserve(n-h.held) {
		return false
	}
	h.c.share.unreserve(h.held - n)
	h.held = n
	return true
}

// event handles an event. The caller must hold mu.
func (h *h2Conn) event(ev http2.Event) {
	var st *h2Stream
	if ev.Stream != nil {
		st, _ = ev.Stream.Value.(*h2Stream)
	}
	switch ev.Kind {
	case http2.EventRequest:
		h.beginStream(ev.Stream)
	case http2.EventData:
		st.receive(ev.Data, ev.End)
	case http2.EventTrailers:
		st.receive(nil, true)
	case http2.EventReset:
		if st != nil {
			h.c.root.metrics.h2Resets.Add(1)
			st.wasReset(ev.Code)
		}
	case http2.EventWindow:
		if st != nil {
			st.wake(&st.writer)
			return
		}
		for st := range h.open {
			st.wake(&st.writer)
		}
	case http2.EventRefused:
		h.noteLimit(http2.LimitStreams)
	}
}

// beginStream prepares a stream. The caller must hold mu.
func (h *h2Conn) beginStream(s *http2.Stream) {
	if now := h.c.root.current.Load(); h.model == nil || h.model.gen != now {
		h.model = &clientConn{
			Conn: h.c.Conn, driver: h.c.driver, kind: h.c.kind, root: h.c.root,
			share:  share{total: h.c.share.total, silent: h.c.share.silent, account: h.c.share.account, key: h.c.share.key},
			source: h.c.source, port: h.c.port, tlsVersion: h.c.tlsVersion, peer: http1.Peer{Name: h.c.peer.Name},
		}
		h.model.useGeneration(now)
	}
	st := &h2Stream{h: h, s: s, in: h2Inbox{ended: s.Complete()}, h2Waits: h2Waits{mu: &h.mu, driver: h.model.driver}}
	st.c = h.model.forStream(st)
	s.Value = st
	h.open[st] = struct{}{}
	h.begun = append(h.begun, st)
}

// arm sets the phase and the deadline according to the connection's state. The caller must hold mu.
func (h *h2Conn) arm() {
	if h.failed { // the connection is ending, and its deadline is set elsewhere
		return
	}
	c, s := h.c, h.c.root.sweeper
	o := &h.c.gen.o
	ph, at := phaseStreams, int64(0)
	switch {
	case h.shut:
		at = s.after(lingerQuiet)
	case h.m.MidBlock():
		if h.deadline == 0 {
			h.deadline = s.after(o.HeaderTimeout)
		}
		at = h.deadline
	case len(h.open) == 0:
		ph, at = phaseIdle, s.after(o.IdleTimeout)
	}
	if !h.m.MidBlock() {
		h.deadline = 0
	}
	switch waiting := ph == phaseIdle || h.m.MidBlock(); {
	case !waiting:
		c.reading.began.Store(0)
	case c.reading.began.Load() == 0:
		c.reading.begin(s.now.Load())
	}
	for {
		was := phase(c.phase.Load())
		if was == ph || was == phaseClosed || was == phaseLinger || c.phase.CompareAndSwap(uint32(was), uint32(ph)) {
			break
		}
	}
	c.limits.armRead(at)
}

// done reports whether the connection is no longer needed. The caller must hold mu.
func (h *h2Conn) done() bool {
	return len(h.open) == 0 && len(h.begun) == 0 && (h.m.Left() || h.m.PeerLeft())
}

// noteError counts the reason why the connection ends. The caller must hold mu.
func (h *h2Conn) noteError(err error) {
	var failed *http2.ConnError
	if errors.As(err, &failed) {
		h.noteLimit(failed.Limit)
		h.c.gen.o.Logger.Debug("closing an HTTP/2 connection", "client", string(h.c.client), "error", err)
	}
}

// noteLimit counts a limit that the client has exceeded.
func (h *h2Conn) noteLimit(l http2.Limit) {
	if l != http2.LimitNone {
		h.c.root.metrics.h2Limits[l].Add(1)
	}
}

// goAway tells the client that the proxy is shutting down. Any goroutine may call it.
func (h *h2Conn) goAway() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.leaving {
		h.leaving = true
		h.m.GoAway()
		h.flushSoon()
	}
}

// lost ends the connection after a read error. If the reason is only that the client was idle for too long, it sends GOAWAY. It overwrites buf.
func (h *h2Conn) lost(err error, buf []byte) {
	h.mu.Lock()
	polite := isTimeout(err) && len(h.open) == 0 && !h.shut && !h.m.MidBlock()
	if polite {
		h.m.Leave()
	}
	h.mu.Unlock()
	if polite {
		h.finish(buf)
		return
	}
	h.fail()
}

// fail ends the remaining streams after the connection has been lost.
func (h *h2Conn) fail() {
	h.c.failed.Store(true)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = true
	h.hold(0)
	for st := range h.open {
		st.lose()
	}
}

// finish sends the rest of the output, closes the connection's write side, and gives the client time to receive what was sent. It
// overwrites buf.
func (h *h2Conn) finish(buf []byte) {
	c := h.c
	h.mu.Lock()
	h.hold(0)
	for st := range h.open {
		st.lose()
	}
	h.mu.Unlock()
	h.awaitFlush()
	h.mu.Lock()
	h.failed = true // streams that are still ending must not write or set the deadline
	h.mu.Unlock()
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || c.failed.Load() || c.gaveWay.Load() || phase(c.phase.Load()) == phaseClosed {
		return
	}
	c.phase.Store(uint32(phaseLinger))
	if half.CloseWrite() == nil {
		h.awaitClose(buf)
	}
}

// awaitClose discards incoming bytes until the client closes the connection, for lingerQuiet at most. It is woken only when a whole buffer
// has arrived, so a client that continues to send small frames costs little. It overwrites buf.
func (h *h2Conn) awaitClose(buf []byte) {
	c, s := h.c, h.c.gen.sweeper
	c.watch.wakeFrom(len(buf))
	for began := s.now.Load(); !passed(s.now.Load(), began, lingerQuiet) && !c.gaveWay.Load(); {
		c.lingerDeadline = s.after(lingerLook)
		if _, err := c.Read(buf); err != nil && !isTimeout(err) {
			return
		}
	}
}

// endPanic must be deferred. It makes a panic end only this connection.
func (h *h2Conn) endPanic() {
	if r := recover(); r != nil {
		h.c.root.current.Load().o.Logger.Error("panic on an HTTP/2 connection; closing it", "value", r, "stack", string(debug.Stack()))
		_ = h.c.Close()
		h.fail()
	}
}

// leave closes the connection's write side as soon as the output has been sent. The reading task then sees the end of the
// connection. The caller must hold mu.
func (h *h2Conn) leave() {
	if h.shut {
		return
	}
	h.m.Leave()
	h.shut = true
	h.flushSoon()
	h.arm()
}
