package proxy

import (
	"net"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// This file converts the HTTP/1.1 bytes that an exchange writes to frames of its HTTP/2 stream, and sends the output of the connection.

// h2PieceBytes is the largest amount of data that a stream adds to the output in one step.
const h2PieceBytes = 16 << 10

// Write takes the bytes of a response. A header, and a line of framing, must not be split over several calls.
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

// putHead writes a header to the output.
func (st *h2Stream) putHead(block []byte) error {
	f, end := http1.FramingOf(block), false
	code := string(block[9:12])
	interim := code[0] == '1' && code != "101"
	switch {
	case interim:
	case code == "101":
		st.out.framing.Reset(http1.UntilClose, 0) // the data of a tunnel has no framing
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

// putData writes data to the output, as fast as the windows and the client allow.
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

// mayWrite returns an error if nothing can be written to the output. The caller must hold mu.
func (st *h2Stream) mayWrite() error { return st.writeError(st.gone || st.closed || st.h.failed) }

// flushSoon schedules flush, so that a single write can send the output of all tasks that are ready now. The caller must hold mu. Any
// goroutine may call it.
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
	for h.m.Pending() > 0 && !h.failed {
		out, ends := h.m.TakeOutput(h.spare), h.ends
		h.spare, h.ends = nil, 0
		err := h.send(out)
		if cap(out) <= 2*h2QueueBytes {
			h.spare = out
		}
		if err != nil {
			h.c.root.metrics.undelivered.Add(ends)
			if h.failed { // finish has closed the write side, and waits for the client
				return
			}
			h.failed = true
			for st := range h.open {
				st.lose()
			}
			_ = h.c.limits.conn.SetReadDeadline(past) // wakes the reading task, which ends the connection
			return
		}
		for st := range h.open {
			st.wake(&st.writer)
		}
	}
	if len(h.open) == 0 {
		h.spare = nil // an idle connection keeps no buffers
	}
	if half, ok := h.c.Conn.(interface{ CloseWrite() error }); ok && h.shut {
		_ = half.CloseWrite()
	}
}

// send writes bytes to the connection. The caller must hold mu, which is unlocked during the write.
func (h *h2Conn) send(out []byte) error {
	h.mu.Unlock()
	defer h.mu.Lock()
	_, err := h.c.Write(out)
	return err
}

// awaitFlush waits until the output has been sent or cannot be sent.
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
