package proxy

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// tlsWire is the TCP connection below TLS. It can be read before the handshake, without losing bytes.
type tlsWire struct {
	net.Conn
	unread   []byte        // read from the connection, and not returned by Read yet; belongs to the reader
	received atomic.Int64  // bytes from the connection
	slots    chan struct{} // see handshakeSlot; nil after the handshake; belongs to the goroutine that serves the connection
	holding  bool          // a slot
}

// errSniffed means that the beginning of a connection is longer than allowed.
var errSniffed = errors.New("too many bytes before the handshake")

// sniff reads more bytes than unread has, up to limit, and leaves all of them unread.
func (w *tlsWire) sniff(limit int) error {
	have := len(w.unread)
	if have >= limit {
		return errSniffed
	}
	if cap(w.unread) < limit {
		w.unread = append(make([]byte, 0, limit), w.unread...)
	}
	n, err := w.Conn.Read(w.unread[have:limit])
	w.received.Add(int64(n))
	w.unread = w.unread[:have+n]
	if n > 0 {
		return nil
	}
	return err
}

// Read implements net.Conn.
func (w *tlsWire) Read(b []byte) (int, error) {
	if len(w.unread) > 0 {
		n := copy(b, w.unread)
		if w.unread = w.unread[n:]; len(w.unread) == 0 {
			w.unread = nil
		}
		return n, nil
	}
	w.releaseSlot() // a client that sends its part of the handshake slowly holds up nobody
	n, err := w.Conn.Read(b)
	w.received.Add(int64(n))
	w.takeSlot()
	return n, err
}

// takeSlot waits until fewer than cap(slots) handshakes compute. They take a millisecond of CPU time each, and without a limit, many new
// clients would take the processors from those that are connected.
func (w *tlsWire) takeSlot() {
	if w.slots != nil {
		w.slots <- struct{}{}
		w.holding = true
	}
}

func (w *tlsWire) releaseSlot() {
	if w.holding {
		w.holding = false
		<-w.slots
	}
}

// endHandshake ends the use of slots.
func (w *tlsWire) endHandshake() {
	w.releaseSlot()
	w.slots = nil
}

// CloseWrite closes the direction to the client.
func (w *tlsWire) CloseWrite() error {
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetLinger is that of [net.TCPConn].
func (w *tlsWire) SetLinger(seconds int) error {
	if tcp, ok := w.Conn.(interface{ SetLinger(seconds int) error }); ok {
		return tcp.SetLinger(seconds)
	}
	return errors.ErrUnsupported
}

// SyscallConn implements [syscall.Conn].
func (w *tlsWire) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := w.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// joined holds *[]byte in which several buffers are joined for one record.
var joined = sync.Pool{New: func() any { b := make([]byte, 0, joinedBytesMax); return &b }}

// joinedBytesMax is what one TLS record carries at most.
const joinedBytesMax = 16 << 10
