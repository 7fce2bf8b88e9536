package proxy

import (
	"net"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// Responses of HTTP/2 streams, from the bytes of HTTP/1.1 that an exchange writes, and the output of the connection.

// h2PieceBytes is the most that a stream adds to the output at once.
const h2PieceBytes = 16 << 10

// Write takes the bytes of a response: headers whole, and lines of framing whole.
func (st *h2Stream) Write(b []byte) (int, error) {
	n, err := st.out.write(b, st)
	if err != nil {
		err = st.fail("write", err)
	}
	return n, err
}

// WriteBuffers writes several buffers. It consumes bufs.
func (st *h2Stream) WriteBuffers(bufs *net.Buffers) (total int64, err error) {
	for _, b := range *bufs {
		n, err := st.Write(b)
		if total += int64(n); err != nil {
			return total, err
		}
	}
	*bufs = (*bufs)[len(*bufs):]
	return total, nil
}

// putHead puts out a header.
func (st *h2Stream) putHead(block []byte) error {
	f, end := http1.FramingOf(block), false
	interim := block[9] == '1'
	switch code := string(block[9:12]); {
	case interim:
	case st.c.x.req.isHead() || code == "204" || code == "304":
		end = true
		st.out.framing.Reset(http1.Fixed, 0)
	case f.Chunked:
		st.out.framing.Reset(http1.Chunks, 0)
	default:
		st.out.framing.Reset(http1.Fixed, max(f.Length, 0))
		end = f.Length <= 0
	}
	st.out.headed = !interim
	h := st.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := st.mayWrite(); err != nil {
		return err
	}
	h.m.WriteHead(st.s, block, end)
	h.flushSoon()
	return nil
}

// putData puts out data, as the windows and the client's speed allow.
func (st *h2Stream) putData(p []byte, end bool) error {
	h := st.h
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(p) > 0 {
		if err := st.mayWrite(); err != nil {
			return err
		}
		n := 0
		if h.m.Pending() < h2QueueBytes {
			piece := p[:min(len(p), h2PieceBytes)]
			n = h.m.WriteData(st.s, piece, end && len(piece) == len(p))
			p = p[n:]
			h.flushSoon()
		}
		if n == 0 {
			h.flushSoon()
			st.await(&st.writer)
		}
	}
	return nil
}

// putEnd ends the response.
func (st *h2Stream) putEnd(trailers []byte) error {
	h := st.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := st.mayWrite(); err != nil {
		return err
	}
	if len(trailers) > 0 {
		h.m.WriteTrailers(st.s, trailers)
	} else {
		h.m.WriteData(st.s, nil, true)
	}
	h.flushSoon()
	return nil
}

// mayWrite returns why nothing can be put out, or nil. mu is held.
func (st *h2Stream) mayWrite() error { return st.writeError(st.gone || st.h.failed) }

// flushSoon makes the output be sent, together with what other tasks add that are ready now. mu is held. Any goroutine may call it.
func (h *h2Conn) flushSoon() {
	if !h.flushing && !h.failed && (h.m.Pending() > 0 || h.shut) {
		h.flushing = true
		h.c.driver.post(h.flushTask)
	}
}

// flush sends the output.
func (h *h2Conn) flush() {
	defer h.endPanic()
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() {
		h.flushing = false
		if h.flushed != nil {
			h.flushed.Set()
			h.flushed = nil
		}
	}()
	for h.m.Pending() > 0 {
		out, ends := h.m.TakeOutput(h.spare), h.ends
		h.spare, h.ends = nil, 0
		err := h.send(out)
		if cap(out) <= 2*h2QueueBytes {
			h.spare = out
		}
		if err != nil {
			h.c.root.metrics.undelivered.Add(ends)
			h.failed = true
			for st := range h.open {
				st.lose()
			}
			_ = h.c.limits.conn.SetReadDeadline(past) // the reading task ends the connection
			return
		}
		for st := range h.open {
			st.wake(&st.writer)
		}
	}
	if len(h.open) == 0 {
		h.spare = nil // an idle connection holds no buffers
	}
	if half, ok := h.c.Conn.(interface{ CloseWrite() error }); ok && h.shut {
		_ = half.CloseWrite()
	}
}

// send writes. mu is held, and unlocked while it writes.
func (h *h2Conn) send(out []byte) error {
	h.mu.Unlock()
	defer h.mu.Lock()
	_, err := h.c.Write(out)
	return err
}

// awaitFlush waits until the output has been sent, or cannot be.
func (h *h2Conn) awaitFlush() {
	h.mu.Lock()
	h.flushSoon()
	if !h.flushing {
		h.mu.Unlock()
		return
	}
	done := h.c.driver.signal()
	h.flushed = done
	h.mu.Unlock()
	done.Wait(-1)
}
