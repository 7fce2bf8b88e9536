package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"slices"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// This file reads the header of a response, and the interim responses before it.

// interimMax is the number of 1xx responses that may precede one final response.
const interimMax = 32

var (
	errNoResponse   = errors.New("upstream closed the connection before its response")
	errAfterInterim = errors.New("upstream closed the connection after an interim response") // a byte of a response has arrived, so the request is never repeated
	errUpgrade      = errors.New("upstream switched protocols without being asked")
	errHeaderCut    = errors.New("upstream closed the connection before the end of its response header")

	// errResponseHeader is wrapped by an error that states the limit.
	errResponseHeader = errors.New("the response's header is larger than proxy.response_header_bytes_max")
)

// readHead reads the header of the final response into x.resp. It writes the header block for the client into x.reply.buf; endHead
// completes that block. Interim responses are passed on immediately (RFC 9110, section 15.2).
func (x *exchange) readHead(u *upstreamConn) error {
	switch {
	case x.upload.ended != nil: // upload.start has armed the deadline
	default:
		u.limits.armRead(x.limit.after(x.req.route.responseTimeout))
	}
	for n := 0; n <= interimMax; {
		block, err := x.resp.next(u.br)
		if err != nil && x.upload.awaitingContinue && isTimeout(err) {
			if err = x.upload.expectInVain(); err == nil {
				continue
			}
		}
		if err != nil && n > 0 && errors.Is(err, errNoResponse) {
			return fmt.Errorf("%w: %v", errAfterInterim, err) //nolint:errorlint // it must not match errNoResponse, which allows a retry
		}
		if err != nil {
			return err
		}
		x.resp.Reset()
		if err = x.parseHead(block); err != nil {
			return err
		}
		if x.resp.Status >= 200 || x.resp.Status == 101 && x.upgrading && x.req.Offered(x.resp.Upgrade) {
			return x.checkUpgrade()
		}
		n++
		if err = x.interim(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: too many interim responses", http1.ErrResponse)
}

// interim passes on a 1xx response to clients that speak HTTP/1.1 or newer.
func (x *exchange) interim() error {
	if x.resp.Status == 101 {
		return errUpgrade
	}
	if !x.req.HTTP10 && (x.resp.Status != 100 || !x.upload.continued) {
		x.reply.buf = append(x.reply.buf, '\r', '\n')
		if _, err := x.c.Write(x.reply.buf); err != nil {
			return fmt.Errorf("%w: %w", errClientBody, err)
		}
	}
	if x.resp.Status == 100 && x.upload.awaitingContinue {
		x.upload.endExpectation()
	}
	return nil
}

// responseHead is the header of a response, and reads the blocks that contain it.
type responseHead struct {
	http1.Response
	c     *clientConn // the connection that is charged for the memory of the blocks
	large []byte      // the beginning of a block that does not fit into the upstream's reader
}

// next waits for a complete header block and takes it from br. The block is valid until br reads again. errNoResponse means that the connection ended
// before the first byte. After a timeout, next may be called again.
func (h *responseHead) next(br *bufio.Reader) ([]byte, error) {
	limit := h.c.gen.o.MaxResponseHeaderBytes
	at := 0
	for n := 1; ; {
		_, err := br.Peek(n)
		b, _ := br.Peek(br.Buffered()) // cannot fail
		block := b
		if len(h.large) > 0 {
			block = append(h.large, b...)
		}
		end, next := http1.BlockEnd(block, at)
		switch {
		case end > limit, end == 0 && len(block) >= limit:
			return nil, fmt.Errorf("%w (%d bytes)", errResponseHeader, limit)
		case end > 0:
			_, _ = br.Discard(end - len(h.large))
			h.large = nil
			return block[:end], nil
		case errors.Is(err, bufio.ErrBufferFull):
			if !h.c.share.hold(int64(len(b))) {
				h.c.warn(failMemory)
				return nil, errMemory
			}
			h.large = slices.Grow(append(h.large, b...), br.Size()) // with room for another full buffer of br
			_, _ = br.Discard(len(b))
			b = nil
		case err != nil && len(block) == 0:
			return nil, fmt.Errorf("%w: %w", errNoResponse, err)
		case err != nil && isTimeout(err):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w: %w", errHeaderCut, err)
		}
		at, n = next, len(b)+1
	}
}

// parseHead checks a header block and rewrites it into x.reply.buf, without the empty line.
func (x *exchange) parseHead(block []byte) (err error) {
	if x.reply.buf, err = x.resp.Rewrite(x.reply.buf[:0], block); err == nil && x.resp.Status >= 200 {
		x.reply.buf = x.resp.Finish(x.reply.buf, x.c.gen.date(), x.req.id(), x.req.route.responseRules)
		x.reply.buf = x.to.appendCookie(x.reply.buf, &x.req)
	}
	return err
}
