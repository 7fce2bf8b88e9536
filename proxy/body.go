package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// bodyReader reads the body of a request or a response. It returns slices of the reader's buffer and allocates nothing.
type bodyReader struct {
	http1.Body
	br     *bufio.Reader
	arm    func() error // called before each read that may wait; nil if the connection arms its own deadline
	handed int          // length of the last piece, which is still in the buffer
}

// reset prepares for a new body. length is used only if the framing is Fixed.
func (r *bodyReader) reset(br *bufio.Reader, framing http1.BodyFraming, length int64) {
	r.br, r.handed = br, 0
	r.Reset(framing, length)
}

// next returns the next piece, at most max bytes, which is valid until the next call. io.EOF marks the end of a complete body. A body of
// fixed length counts as ended as soon as its last piece is returned.
func (r *bodyReader) next(max int) ([]byte, error) {
	if err := r.advance(); err != nil {
		return nil, err
	}
	if r.br.Buffered() == 0 {
		if err := r.await(1); err != nil {
			return nil, err
		}
	}
	b, err := r.br.Peek(int(min(int64(r.br.Buffered()), int64(max), r.Left())))
	if err != nil {
		return nil, err
	}
	r.handed = len(b)
	r.Took(len(b))
	return b, nil
}

// Read copies data from the body to p. If nothing is buffered and p is large, it reads directly from the connection. It may be used only
// for connections that arm their own deadlines.
func (r *bodyReader) Read(p []byte) (int, error) {
	if err := r.advance(); err != nil {
		return 0, err
	}
	n, err := r.br.Read(p[:min(int64(len(p)), r.Left())])
	if n > 0 {
		r.Took(n)
		return n, nil
	}
	return 0, r.ended(err)
}

// advance moves to the next data of the body.
func (r *bodyReader) advance() error {
	r.discardPiece()
	for r.Left() == 0 {
		if r.Ended() {
			return io.EOF
		}
		b, _ := r.br.Peek(r.br.Buffered())
		n, err := r.Frame(b)
		if err != nil {
			return err
		}
		_, _ = r.br.Discard(n)
		if n == 0 {
			err = r.await(len(b) + 1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// await waits until n bytes are buffered.
func (r *bodyReader) await(n int) error {
	if r.arm != nil {
		if err := r.arm(); err != nil {
			return err
		}
	}
	_, err := r.br.Peek(n)
	if errors.Is(err, bufio.ErrBufferFull) {
		return fmt.Errorf("%w: line too long", http1.ErrBody)
	}
	return r.ended(err)
}

// ended translates an error of the connection into an error of the body.
func (r *bodyReader) ended(err error) error {
	if err != io.EOF {
		return err
	}
	if err := r.Close(); err != nil {
		return err
	}
	return io.EOF
}

// discardPiece removes the last piece from the buffer.
func (r *bodyReader) discardPiece() {
	if r.handed > 0 {
		_, _ = r.br.Discard(r.handed) // cannot fail, because these bytes are buffered
		r.handed = 0
	}
}
