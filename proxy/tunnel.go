package proxy

import (
	"errors"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy/http1"
)

// This file handles upgraded connections (RFC 9110, section 7.8). If the upstream responds with 101, both connections become a byte
// tunnel. A request with Upgrade uses a dedicated upstream connection, which never enters the pool. Bytes are passed on immediately, in
// both directions. If one side half-closes its connection, so does the proxy on the other connection. The other direction remains open,
// but only as long as it is not silent, because the peer that has half-closed may no longer exist. The tunnel is one response, which is
// recorded as a stream when it ends.

// tunnelBytes is the size of each of a tunnel's two buffers.
const tunnelBytes = 16 << 10

// tunnel passes bytes between both connections after a 101, whose header is in x.reply.buf.
func (x *exchange) tunnel() {
	c, u := x.c, x.up
	x.reply.closeAfter = true
	x.reply.buf = http1.AppendField(x.reply.buf, "Upgrade: ", x.resp.Upgrade)
	if !c.watch.takeBack() || !c.phase.CompareAndSwap(uint32(phaseBody), uint32(phaseTunnel)) {
		x.clientLeft()
		return
	}
	x.ev.Kind = event.KindStream
	x.ev.Status = 101
	x.reply.buf = append(x.reply.buf, "Connection: Upgrade\r\n\r\n"...)
	if !x.reply.write(x.reply.buf) {
		x.clientLeft()
		return
	}
	t := &tunnel{x: x, u: u}
	t.seen.Store(c.gen.sweeper.now.Load())
	c.root.streams.add(x, t.cut)
	up := c.driver.signal()
	c.driver.run(func() {
		defer up.Set()
		t.copy(u.Conn, c.br, c.Conn, &t.in)
	})
	t.copy(c.Conn, u.br, u.Conn, &t.out)
	up.Wait(-1)
	c.root.streams.remove(x)
	x.ev.RequestBytes, x.ev.ResponseBytes = t.in.Load(), t.out.Load()
	x.record(t.failure())
	x.dropUpstream()
}

// tunnel is the state that the two directions of a tunnel share.
type tunnel struct {
	x       *exchange
	u       *upstreamConn
	seen    atomic.Int64  // sweeper time of the last byte or half-close, in either direction
	half    atomic.Bool   // one direction has ended
	over    atomic.Bool   // the upstream has half-closed its connection, and the client speaks HTTP/2
	why     atomic.Uint32 // 1 + the failure passed to the first call of end; 0 if end has not been called
	in, out atomic.Uint64
}

// copy passes bytes from src to dst until the end of src, and then half-closes dst. br reads from src and may already have buffered the first bytes.
// After an error, copy closes both connections, because lost bytes in one direction make the other direction meaningless.
func (t *tunnel) copy(dst net.Conn, br io.Reader, src net.Conn, count *atomic.Uint64) {
	defer func() {
		if r := recover(); r != nil {
			t.x.c.gen.o.Logger.Error("panic on an upgraded connection; closing it", "value", r, "stack", string(debug.Stack()))
			t.end(failPanic)
		}
	}()
	loan := tunnelBuffers.Get().(*[]byte)
	defer tunnelBuffers.Put(loan)
	p := t.x.c.gen
	for {
		t.arm(src)
		n, err := br.Read(*loan)
		if n > 0 {
			t.seen.Store(p.sweeper.now.Load())
			t.limits(dst).armWrite(p.sweeper.after(p.o.WriteTimeout))
			if _, werr := dst.Write((*loan)[:n]); werr != nil {
				f := t.side(dst, werr)
				if f == failTunnelIdle && dst == t.x.c.Conn {
					f = failWriteTimeout
				}
				t.end(f)
				return
			}
			count.Add(uint64(n))
		}
		switch {
		case err == nil:
		case isTimeout(err) && t.alive():
		case err == io.EOF: // a wrapped io.EOF means instead that a shared connection has ended
			half, ok := dst.(interface{ CloseWrite() error })
			if !ok || half.CloseWrite() != nil {
				t.end(failNone)
				return
			}
			t.seen.Store(p.sweeper.now.Load())
			if dst == t.x.c.Conn && t.x.c.stream != nil {
				t.over.Store(true)
			}
			t.half.Store(true)
			t.arm(dst) // the other direction may already be waiting with a longer limit
			return
		default:
			f := t.side(src, err)
			if f == failTunnelIdle && t.over.Load() {
				f = failNone
			}
			t.end(f)
			return
		}
	}
}

// tunnelBuffers contains *[]byte values of length tunnelBytes.
var tunnelBuffers = sync.Pool{New: func() any { b := make([]byte, tunnelBytes); return &b }}

func (t *tunnel) limits(conn net.Conn) *deadlines {
	if conn == t.u.Conn {
		return &t.u.limits
	}
	return &t.x.c.limits
}

// arm arms the deadline for the next read from a connection. The limit applies to a pause in both directions, so after a deadline has passed, alive
// must check whether the other direction has moved bytes.
func (t *tunnel) arm(src net.Conn) {
	for {
		half, at := t.half.Load(), int64(0)
		if d := t.silence(); d > 0 {
			at = t.seen.Load() + t.x.c.gen.sweeper.tick.Load() + int64(d)
		}
		t.limits(src).armRead(at)
		if t.half.Load() == half { // otherwise the other direction has just ended, and its shorter limit may have been overwritten here
			return
		}
	}
}

// overShare divides TunnelHalfClosedTimeout: after the upstream has half-closed its connection, an HTTP/2 client has 1/overShare of that
// time to end the other direction. Browsers do not end it: a WebSocket has no half-close, and the stream costs them nothing. So this is how
// most of their tunnels end.
const overShare = 30

// silence returns how long both directions may be silent; 0 means that there is no limit.
func (t *tunnel) silence() time.Duration {
	o := &t.x.c.gen.o
	limit, half := max(o.TunnelTimeout, 0), o.TunnelHalfClosedTimeout
	if t.over.Load() {
		half /= overShare
	}
	if half > 0 && t.half.Load() && (limit == 0 || half < limit) {
		limit = half
	}
	return limit
}

// alive reports whether either direction has moved a byte within the time limit.
func (t *tunnel) alive() bool {
	d := t.silence()
	return t.why.Load() == 0 && (d == 0 || t.x.c.gen.sweeper.now.Load() < t.seen.Load()+int64(d))
}

// side classifies an error on one of the connections.
func (t *tunnel) side(conn net.Conn, err error) failure {
	switch {
	case errors.Is(err, errMemory):
		t.x.c.warn(failMemory)
		return failMemory
	case isTimeout(err):
		return failTunnelIdle
	case errors.Is(err, errStreamDone):
		return failNone
	case conn == t.u.Conn:
		return failReset
	}
	return failClientClosed
}

// end closes both connections. Only the first call decides what is recorded, even if nothing has failed: closing the connections causes an
// error in the other direction.
func (t *tunnel) end(f failure) {
	t.why.CompareAndSwap(0, 1+uint32(f))
	_ = t.u.Conn.Close()
	_ = t.x.c.Conn.Close()
}

// failure returns the failure to record. If both directions have ended on their own, there is none.
func (t *tunnel) failure() failure { return failure(max(t.why.Load(), 1) - 1) }

// cut ends the tunnel at a shutdown.
func (t *tunnel) cut() { t.end(failShutdown) }
