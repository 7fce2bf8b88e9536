package h2peer

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Stream is a request and its response.
type Stream struct {
	ID   uint32
	Conn *Conn

	// Guarded by Conn.mu:
	cond      sync.Cond
	timer     *time.Timer
	blocks    [][]hpack.HeaderField // field blocks that were received and have not been returned by Block
	data      []byte                // bytes that were received and have not been read
	credit    uint32                // bytes that were read and for which the window has not been opened again
	ended     bool                  // whether the other side has ended the stream
	sentEnd   bool                  // whether this side has ended the stream
	err       error                 // why the stream has ended early
	window    int64                 // bytes that may be sent
	forgotten bool                  // whether the stream has been removed from Conn.streams
}

// newStream makes a stream. The caller holds mu.
func (c *Conn) newStream(id uint32) *Stream {
	s := &Stream{ID: id, Conn: c, window: c.first}
	s.cond.L = &c.mu
	s.timer = time.AfterFunc(c.options.Timeout, func() { s.fail(ErrTimeout) })
	c.streams[id] = s
	return s
}

// received adds the content of a frame.
func (s *Stream) received(add func(), end bool) {
	s.Conn.mu.Lock()
	defer s.Conn.mu.Unlock()
	add()
	s.ended = s.ended || end
	s.forgetIfDone()
	s.cond.Broadcast()
}

func (s *Stream) fail(err error) {
	s.Conn.mu.Lock()
	defer s.Conn.mu.Unlock()
	s.failLocked(err)
}

func (s *Stream) failLocked(err error) {
	if s.err == nil && !(s.ended && s.sentEnd) {
		s.err = err
	}
	s.forgetIfDone()
	s.cond.Broadcast()
}

func (s *Stream) forgetIfDone() {
	if s.forgotten || s.err == nil && !(s.ended && s.sentEnd) {
		return
	}
	s.forgotten = true
	s.timer.Stop()
	delete(s.Conn.streams, s.ID)
	s.Conn.closeIfDone()
}

// Headers sends fields: the header of a response, an interim response, or trailers.
func (s *Stream) Headers(fields []hpack.HeaderField, end bool) {
	s.Conn.write(func() error {
		if !s.mayWrite(end) {
			return io.ErrClosedPipe
		}
		return s.Conn.headers(s.ID, fields, end)
	})
}

// mayWrite reports whether this side may still send on the stream. If end is set, it also records that this side ends the stream.
func (s *Stream) mayWrite(end bool) bool {
	s.Conn.mu.Lock()
	defer s.Conn.mu.Unlock()
	if s.err != nil || s.sentEnd {
		return false
	}
	s.sentEnd = end
	s.forgetIfDone()
	return true
}

// Send sends data as the windows permit. It returns the stream's error if the stream ends before everything was sent.
func (s *Stream) Send(data string, end bool) error {
	for {
		n, err := s.reserve(len(data))
		if err != nil {
			return err
		}
		piece, last := data[:n], end && n == len(data)
		data = data[n:]
		s.Conn.write(func() error {
			if !s.mayWrite(last) {
				return io.ErrClosedPipe
			}
			return s.Conn.framer.WriteData(s.ID, last, []byte(piece))
		})
		if len(data) == 0 {
			return nil
		}
	}
}

// reserve waits until some of n bytes may be sent, and takes them from the windows.
func (s *Stream) reserve(n int) (int, error) {
	s.Conn.mu.Lock()
	defer s.Conn.mu.Unlock()
	for n > 0 && s.err == nil && min(s.window, s.Conn.window) <= 0 {
		s.cond.Wait()
	}
	if s.err != nil {
		return 0, s.err
	}
	n = int(min(int64(n), s.window, s.Conn.window, 16<<10))
	s.window -= int64(n)
	s.Conn.window -= int64(n)
	return n, nil
}

// Reset resets the stream.
func (s *Stream) Reset(code http2.ErrCode) {
	s.fail(fmt.Errorf("reset by this side with %v", code))
	s.Conn.write(func() error { return s.Conn.framer.WriteRSTStream(s.ID, code) })
}

// Block waits for the next field block. At the end of the stream, it returns io.EOF.
func (s *Stream) Block() ([]hpack.HeaderField, error) {
	s.Conn.mu.Lock()
	defer s.Conn.mu.Unlock()
	for len(s.blocks) == 0 && !s.ended && s.err == nil {
		s.cond.Wait()
	}
	if len(s.blocks) > 0 {
		b := s.blocks[0]
		s.blocks = s.blocks[1:]
		return b, nil
	}
	if s.err != nil && !s.ended {
		return nil, s.err
	}
	return nil, io.EOF
}

// Read reads data. It returns io.EOF at the end of the stream, even if there are trailers.
func (s *Stream) Read(p []byte) (int, error) {
	c := s.Conn
	c.mu.Lock()
	for len(s.data) == 0 && !s.ended && s.err == nil {
		s.cond.Wait()
	}
	if len(s.data) == 0 {
		defer c.mu.Unlock()
		if s.err != nil && !s.ended {
			return 0, s.err
		}
		return 0, io.EOF
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	s.credit += uint32(n)
	credit := s.credit
	if credit < c.options.Window/2 || s.ended || s.err != nil {
		credit = 0
	} else {
		s.credit = 0
	}
	c.mu.Unlock()
	if credit > 0 {
		c.write(func() error { return c.framer.WriteWindowUpdate(s.ID, credit) })
	}
	return n, nil
}

// Err returns why the stream has ended early, or nil.
func (s *Stream) Err() error {
	s.Conn.mu.Lock()
	defer s.Conn.mu.Unlock()
	return s.err
}

// Response is the part of a response that has arrived.
type Response struct {
	Interim  []string // statuses of the interim responses
	Status   int      // 0 if no header has arrived
	Header   []hpack.HeaderField
	Body     string
	Trailers []hpack.HeaderField
}

// Header reads the header of a response, after any interim responses.
func (s *Stream) Header() (r Response, err error) {
	for {
		block, err := s.Block()
		if err != nil {
			return r, err
		}
		text := Value(block, ":status")
		status, err := strconv.Atoi(text)
		if err != nil {
			return r, fmt.Errorf("status %q", text)
		}
		if status/100 == 1 {
			r.Interim = append(r.Interim, text)
			continue
		}
		r.Status, r.Header = status, block
		return r, nil
	}
}

// Response reads a whole response. If the stream ends early, it returns what has arrived, and the error.
func (s *Stream) Response() (Response, error) {
	r, err := s.Header()
	if err != nil {
		return r, err
	}
	body, err := io.ReadAll(s)
	if r.Body = string(body); err != nil {
		return r, err
	}
	if r.Trailers, err = s.Block(); err == io.EOF {
		err = nil
	}
	return r, err
}
