package proxy

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// This file contains what the streams of clients (h2stream.go) and the calls to servers (h2call.go) have in common: both are net.Conns
// that carry one message in each direction, in HTTP/1.1 form.

// h2Waits contains the signals of the tasks that are waiting for a stream, and the state of the stream's deadlines. It is guarded by the
// mu of the stream's connection.
type h2Waits struct {
	mu     *sync.Mutex
	driver driver // driver of the tasks that wait; not guarded

	reader, writer      signal
	readLate, writeLate bool // a deadline has passed
}

// wake sets a signal for which a task may be waiting. The caller must hold mu.
func (*h2Waits) wake(s *signal) {
	if *s != nil {
		(*s).Set()
		*s = nil
	}
}

// wakeBoth wakes the reader and the writer. The caller must hold mu.
func (w *h2Waits) wakeBoth() {
	w.wake(&w.reader)
	w.wake(&w.writer)
}

// await waits until wake is called for the signal. The caller must hold mu, which is unlocked during the wait.
func (w *h2Waits) await(s *signal) {
	ready := w.driver.signal()
	*s = ready
	w.mu.Unlock()
	defer w.mu.Lock()
	ready.Wait(-1)
}

// SetDeadline sets both deadlines: see SetReadDeadline.
func (w *h2Waits) SetDeadline(t time.Time) error {
	return errors.Join(w.SetReadDeadline(t), w.SetWriteDeadline(t))
}

// SetReadDeadline makes reads fail if t is in the past, and allows them otherwise, like the method of [loop.Conn].
func (w *h2Waits) SetReadDeadline(t time.Time) error {
	w.setDeadline(&w.readLate, t, &w.reader)
	return nil
}

// SetWriteDeadline is like SetReadDeadline, but for writes.
func (w *h2Waits) SetWriteDeadline(t time.Time) error {
	w.setDeadline(&w.writeLate, t, &w.writer)
	return nil
}

func (w *h2Waits) setDeadline(late *bool, t time.Time, waiting *signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if *late = !t.IsZero() && !t.After(time.Now()); *late {
		w.wake(waiting)
	}
}

// h2Inbox contains the part of a body that has arrived but has not been read. It is guarded by the mu of the connection.
type h2Inbox struct {
	data      []byte
	at        int    // index in data of the first byte that has not been read
	held      int64  // counted bytes of data; see share.reserve
	lead      []byte // framing, or a header, that copy returns next
	chunkLeft int    // remaining data of the chunk that is being read
	ended     bool   // the whole message has arrived
	tail      bool   // copy has begun to return the bytes after the last data
}

// add adds a piece of the body. reserve counts the memory for it; if it returns false, there is no room.
func (in *h2Inbox) add(b []byte, reserve func(n int64) bool) bool {
	if in.at > 0 && len(in.data)+len(b) > cap(in.data) {
		in.data, in.at = in.data[:copy(in.data, in.data[in.at:])], 0
	}
	was := cap(in.data)
	in.data = append(in.data, b...)
	if more := int64(cap(in.data) - was); more > 0 {
		if !reserve(more) {
			return false
		}
		in.held += more
	}
	return true
}

// trim frees a large buffer if everything in it has been read. It returns how many counted bytes that are. A tunnel may be silent for a
// long time, so it must not keep such a buffer.
func (in *h2Inbox) trim() int64 {
	size := int64(cap(in.data))
	if in.at < len(in.data) || size <= headBytesFree {
		return 0
	}
	in.data, in.at = nil, 0
	in.held -= size
	return size
}

// copy copies the available part of the body, with framing if the body's length is not declared. It returns the number of bytes, and how many
// of them are data.
func (in *h2Inbox) copy(b []byte, chunked bool, trailers []byte) (n, data int) {
	for n < len(b) {
		left := len(in.data) - in.at
		switch {
		case len(in.lead) > 0:
			k := copy(b[n:], in.lead)
			in.lead = in.lead[k:]
			n += k
		case in.chunkLeft > 0 || left > 0 && !chunked:
			k := left
			if chunked {
				k = in.chunkLeft
			}
			k = copy(b[n:], in.data[in.at:in.at+k])
			in.at += k
			n, data = n+k, data+k
			if chunked {
				if in.chunkLeft -= k; in.chunkLeft == 0 {
					in.lead = crlf
				}
			}
		case left > 0:
			in.chunkLeft = left
			in.lead = append(strconv.AppendInt(nil, int64(left), 16), '\r', '\n')
		case in.ended && chunked && !in.tail:
			in.tail = true
			in.lead = append(append([]byte("0\r\n"), trailers...), '\r', '\n')
		default:
			return n, data
		}
	}
	return n, data
}

// h2Message is a message that is being sent: an exchange writes it in HTTP/1.1 form, and it is sent in HTTP/2 form. It belongs to the task
// that writes it.
type h2Message struct {
	headed  bool // the header has been written to the output
	framing http1.Body
}

// h2Sink sends the parts of a message.
type h2Sink interface {
	putHead(block []byte) error
	putData(p []byte, end bool) error
	putEnd(trailers []byte) error
}

// errMessageForm means that an exchange has written something that is not a message, which would be a bug.
var errMessageForm = errors.New("malformed message for HTTP/2")

// write writes bytes of a message. A header, and each line of the framing, must be passed in one piece.
func (m *h2Message) write(b []byte, to h2Sink) (int, error) {
	for at := 0; at < len(b); {
		n, err := m.put(b[at:], to)
		if at += n; err != nil {
			return at, err
		}
	}
	return len(b), nil
}

// put writes the next part.
func (m *h2Message) put(b []byte, to h2Sink) (n int, err error) {
	switch body := &m.framing; {
	case !m.headed:
		if n, _ = http1.BlockEnd(b, 0); n < len("HTTP/1.1 200\r\n\r\n") {
			return 0, errMessageForm
		}
		return n, to.putHead(b[:n])
	case body.Left() > 0:
		n = int(min(int64(len(b)), body.Left()))
		body.Took(n)
		return n, to.putData(b[:n], body.Ended())
	case body.Ended():
		return 0, errMessageForm
	default:
		if n, err = body.Frame(b); err == nil && n == 0 {
			err = errMessageForm
		}
		if err == nil && body.Ended() {
			err = to.putEnd(body.Trailers())
		}
		return n, err
	}
}

// writeError returns the reason why a stream cannot be written to, or nil. The caller must hold mu.
func (w *h2Waits) writeError(gone bool) error {
	switch {
	case w.writeLate:
		return os.ErrDeadlineExceeded
	case gone:
		return errStreamLost
	}
	return nil
}
