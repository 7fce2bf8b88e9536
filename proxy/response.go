package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/valyala/fasthttp"
)

// The header of a response, upstream to client. Like a request's it is checked and rewritten in one pass; the result is
// then read by fasthttp, which sends the client Server, Content-Type, Content-Encoding and Content-Length first, then the
// other fields in their order, then the cookies.

// interimMax is the number of 1xx responses that may precede one final response.
const interimMax = 32

var (
	errProtocol     = errors.New("bad response from upstream")
	errNoResponse   = errors.New("upstream closed the connection before its response")
	errUpgrade      = errors.New("upstream switched protocols unasked")
	errHeaderTooBig = fmt.Errorf("%w: header too large", errProtocol)
)

// responseHead is what the pass over a response's header finds.
type responseHead struct {
	framing
	status    int
	http10    bool
	eventFeed bool // text/event-stream
	encoding  []byte
	options   connectionOptions
}

func (h *responseHead) reset() {
	names, encoding := h.options.names[:0], h.encoding[:0]
	*h = responseHead{framing: framing{length: -1}, encoding: encoding}
	h.options.names = names
}

// closes reports whether the upstream closes the connection after this response.
func (h *responseHead) closes() bool {
	return h.options.close || h.http10 && !h.options.keepAlive
}

// readHead reads the header of the final response into x.resp, and the block to send to the client into x.in. Interim
// responses are skipped: fasthttp answers "Expect: 100-continue" itself, and cannot relay others.
func (x *exchange) readHead(u *upstreamConn) error {
	u.limits.armRead(x.c.p.sweeper.after(x.c.p.o.ResponseTimeout))
	for range interimMax {
		block, err := peekBlock(u.br)
		if err != nil {
			return err
		}
		x.resp.reset()
		if err = x.parseHead(block); err != nil {
			return err
		}
		if _, err = u.br.Discard(len(block)); err != nil {
			return err
		}
		if x.resp.status == fasthttp.StatusSwitchingProtocols {
			return errUpgrade
		}
		if x.resp.status >= 200 {
			return nil
		}
	}
	return fmt.Errorf("%w: too many interim responses", errProtocol)
}

// peekBlock waits for a whole header block and returns it, still in the reader's buffer. errNoResponse means that the
// connection ended before the first byte.
func peekBlock(br *bufio.Reader) ([]byte, error) {
	for n := 1; ; {
		if _, err := br.Peek(n); err != nil {
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
				return nil, errHeaderTooBig
			case br.Buffered() == 0:
				return nil, fmt.Errorf("%w: %w", errNoResponse, err)
			}
			return nil, err
		}
		b, err := br.Peek(br.Buffered())
		if err != nil {
			return nil, err
		}
		if end := blockEnd(b); end > 0 {
			return b[:end], nil
		}
		n = len(b) + 1
	}
}

// blockEnd finds the end of a header block, or 0. It also stops at an empty line made of bare LFs, so that such a block is
// refused at once instead of waited for.
func blockEnd(b []byte) int {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return 0
		}
		line := i
		at += i + 1
		if line == 0 || line == 1 && b[at-2] == '\r' {
			return at
		}
	}
}

// parseHead checks a header block and rewrites it into x.in.
func (x *exchange) parseHead(block []byte) error {
	h := &x.resp
	eol := bytes.IndexByte(block, '\n')
	if eol < 13 || block[eol-1] != '\r' || !bytes.HasPrefix(block, []byte("HTTP/1.")) {
		return fmt.Errorf("%w: status line", errProtocol)
	}
	line := block[:eol-1]
	code := line[9:]
	if (line[7] != '0' && line[7] != '1') || line[8] != ' ' || len(code) < 3 || len(code) > 3 && code[3] != ' ' {
		return fmt.Errorf("%w: status line", errProtocol)
	}
	for _, c := range code[:3] {
		if c < '0' || c > '9' {
			return fmt.Errorf("%w: status code", errProtocol)
		}
		h.status = h.status*10 + int(c-'0')
	}
	if h.status < 100 {
		return fmt.Errorf("%w: status code", errProtocol)
	}
	for _, c := range code[3:] {
		if c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("%w: reason phrase", errProtocol)
		}
	}
	h.http10 = line[7] == '0'
	x.in = append(append(x.in[:0], "HTTP/1.1 "...), code...)
	x.in = append(x.in, '\r', '\n')
	lineEnd := len(x.in)
	if err := x.appendResponseFields(block[eol+1:], false); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	if len(h.options.names) > 0 {
		x.in = x.in[:lineEnd]
		h.framing = framing{length: -1}
		h.encoding = h.encoding[:0]
		if err := x.appendResponseFields(block[eol+1:], true); err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
	}
	if err := h.check(); err != nil || h.chunked && h.http10 {
		return fmt.Errorf("%w: %w", errProtocol, errFraming)
	}
	if len(h.encoding) > 0 {
		x.in = appendField(x.in, "Content-Encoding: ", h.encoding)
	}
	x.in = appendField(x.in, "X-Request-ID: ", x.id())
	x.in = append(x.in, '\r', '\n')
	return nil
}

func (x *exchange) appendResponseFields(raw []byte, second bool) error {
	h := &x.resp
	run, at := 0, 0
	for at < len(raw) {
		name, value, n, err := nextField(raw[at:])
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		id := classify(name)
		keep := true
		if id != fieldOther {
			if keep, err = h.take(id, value, second); err != nil {
				return err
			}
		}
		if !keep || second && h.options.named(name) {
			x.in = append(x.in, raw[run:at]...)
			run = at + n
		}
		at += n
	}
	x.in = append(x.in, raw[run:at]...)
	return nil
}

// take acts on a field that is not simply passed on, and says whether it is.
func (h *responseHead) take(id fieldID, value []byte, second bool) (keep bool, err error) {
	switch id {
	case fieldHopByHop, fieldRequestID:
		return false, nil
	case fieldConnection:
		if !second {
			h.options.take(value)
		}
		return false, nil
	case fieldContentLength:
		return true, h.contentLength(value)
	case fieldTransferEncoding:
		return false, h.transferEncoding(value)
	case fieldContentType:
		media, _, _ := bytes.Cut(value, []byte{';'})
		h.eventFeed = foldEqual(trimOWS(media), "text/event-stream")
	case fieldContentEncoding:
		if len(h.encoding) > 0 && len(value) > 0 {
			h.encoding = append(h.encoding, ", "...)
		}
		h.encoding = append(h.encoding, value...)
		return false, nil
	}
	return true, nil
}

// headFeeder lets fasthttp read a header block that is in memory.
type headFeeder struct {
	src bytes.Reader
	br  *bufio.Reader
}

var headFeeders = sync.Pool{New: func() any {
	return &headFeeder{br: bufio.NewReaderSize(nil, responseHeaderBytesMax+4096)}
}}

// feedHead fills the client's response header from x.in.
func (x *exchange) feedHead(dst *fasthttp.ResponseHeader) error {
	f := headFeeders.Get().(*headFeeder)
	f.src.Reset(x.in)
	f.br.Reset(&f.src)
	err := dst.Read(f.br)
	f.src.Reset(nil)
	headFeeders.Put(f)
	if err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	// fasthttp takes a response without a length for one that ends with the connection; ours never do.
	dst.ResetConnectionClose()
	return nil
}

// readBody reads a body of known length into a buffer that stays valid until the response has been written.
func (x *exchange) readBody(u *upstreamConn, n int) ([]byte, error) {
	body := x.c.borrow(n)
	if u.br.Buffered() < n {
		u.limits.armRead(x.c.p.sweeper.after(x.c.p.o.BodyTimeout))
	}
	_, err := io.ReadFull(u.br, body)
	return body, err
}
