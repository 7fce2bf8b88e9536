package proxy

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// tlsWire is the TCP connection below TLS. It allows reading bytes before the handshake without losing them.
type tlsWire struct {
	net.Conn
	unread   []byte        // bytes that have been read from the connection but not returned by Read; belongs to the reader
	received atomic.Int64  // number of bytes received on the connection
	slots    chan struct{} // see takeSlot; nil after the handshake; belongs to the goroutine that serves the connection
	holding  bool          // whether the connection has a slot
}

// errSniffed means that the beginning of a connection is longer than allowed.
var errSniffed = errors.New("too many bytes before the handshake")

// sniff performs one read, after which unread has at most limit bytes. It leaves all bytes unread.
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
	w.releaseSlot() // so that a client that sends its part of the handshake slowly does not delay others
	n, err := w.Conn.Read(b)
	w.received.Add(int64(n))
	w.takeSlot()
	return n, err
}

// takeSlot waits until fewer than cap(slots) handshakes are using the CPU. Each handshake takes a millisecond of CPU time, and without a
// limit, many new clients would take the CPUs away from those that are already connected.
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

// CloseWrite closes the write side of the connection.
func (w *tlsWire) CloseWrite() error {
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetLinger is like [net.TCPConn.SetLinger].
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

// joined contains *[]byte values in which several buffers are joined to form one record.
var joined = sync.Pool{New: func() any { b := make([]byte, 0, joinedBytesMax); return &b }}

// joinedBytesMax is the most data that one TLS record can carry.
const joinedBytesMax = 16 << 10
