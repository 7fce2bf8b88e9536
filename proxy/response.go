package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// The header of a response, from upstream to client. Like that of a request, it is checked and rewritten in one pass, and fields
// keep their order and case. Hop-by-hop fields are removed. X-Request-ID is replaced by that of the request. Date is added if it is
// missing (RFC 9110, section 6.6.1).

// interimMax is the number of 1xx responses that may precede one final response.
const interimMax = 32

var (
	errProtocol     = errors.New("bad response from upstream")
	errNoResponse   = errors.New("upstream closed the connection before its response")
	errAfterInterim = errors.New("upstream closed the connection after an interim response") // it has answered, so the request is never sent again
	errUpgrade      = errors.New("upstream switched protocols without being asked")
	errHeaderTooBig = fmt.Errorf("%w: header too large", errProtocol)
)

// responseHead holds the values that the pass over a response's header finds.
type responseHead struct {
	framing
	status         int
	http10         bool
	hasDate        bool
	eventFeed      bool   // text/event-stream
	connectionAuth bool   // asks for credentials that authenticate the connection, see pinned.go
	upgrade        []byte // points into the upstream's reader
	options        connectionOptions
}

func (h *responseHead) reset() {
	names := h.options.names[:0]
	*h = responseHead{framing: framing{length: -1}}
	h.options.names = names
}

// closes reports whether the upstream closes the connection after this response.
func (h *responseHead) closes() bool {
	return h.options.close || h.http10 && !h.options.keepAlive
}

// readHead reads the header of the final response into x.resp. It writes the block for the client into x.in; endHead completes it.
// Interim responses are passed on at once (RFC 9110, section 15.2).
func (x *exchange) readHead(u *upstreamConn) error {
	p := x.c.gen
	switch {
	case x.upload.done != nil: // its deadline begins when the body has been sent
	case x.awaitingContinue:
		u.limits.armRead(x.deadline(continueWait))
	default:
		u.limits.armRead(x.deadline(p.o.ResponseTimeout))
	}
	for n := 0; n <= interimMax; {
		block, err := peekBlock(u.br)
		if err != nil && x.awaitingContinue && isTimeout(err) {
			if err = x.sendContinue(u); err == nil {
				continue
			}
		}
		if err != nil && n > 0 && errors.Is(err, errNoResponse) {
			return fmt.Errorf("%w: %v", errAfterInterim, err) //nolint:errorlint // it must not match errNoResponse, which allows a retry
		}
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
		if x.resp.status >= 200 || x.resp.status == 101 && x.upgrading && x.head.offered(x.resp.upgrade) {
			return nil
		}
		n++
		if err = x.interim(u); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: too many interim responses", errProtocol)
}

// interim passes a 1xx response on to clients of HTTP/1.1. After 100, it starts an upload that has waited for it.
func (x *exchange) interim(u *upstreamConn) error {
	if x.resp.status == 101 {
		return errUpgrade
	}
	if !x.head.http10 && (x.resp.status != 100 || !x.continued) {
		x.in = append(x.in, '\r', '\n')
		if _, err := x.c.Write(x.in); err != nil {
			return fmt.Errorf("%w: %w", errClientBody, err)
		}
	}
	if x.resp.status == 100 && x.awaitingContinue {
		x.continueUpload(u)
	}
	return nil
}

// sendContinue asks the client for the body, because the upstream has not answered.
func (x *exchange) sendContinue(u *upstreamConn) error {
	if _, err := io.WriteString(x.c, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
		return fmt.Errorf("%w: %w", errClientBody, err)
	}
	x.continued = true
	x.continueUpload(u)
	return nil
}

func (x *exchange) continueUpload(u *upstreamConn) {
	x.awaitingContinue = false
	x.startUpload(u)
}

// peekBlock waits for a whole header block and returns it without consuming it. errNoResponse means that the connection ended
// before the first byte.
func peekBlock(br *bufio.Reader) ([]byte, error) {
	at := 0
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
		end, next := blockEnd(b, at)
		if end > 0 {
			return b[:end], nil
		}
		at, n = next, len(b)+1
	}
}

// blockEnd finds the end of a header block. If the block is incomplete, it returns 0 and the offset at which to continue. An empty
// line without CR also ends the block, so that it is refused at once.
func blockEnd(b []byte, at int) (end, next int) {
	for {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return 0, at
		}
		at += i + 1
		if i == 0 || i == 1 && b[at-2] == '\r' {
			return at, at
		}
	}
}

// parseHead checks a header block and rewrites it into x.in, without the empty line.
func (x *exchange) parseHead(block []byte) error {
	h := &x.resp
	eol := bytes.IndexByte(block, '\n')
	if eol < 13 || block[eol-1] != '\r' || !bytes.HasPrefix(block, []byte("HTTP/1.")) {
		return fmt.Errorf("%w: status line", errProtocol)
	}
	reason, err := h.parseLine(block[:eol-1])
	if err != nil {
		return err
	}
	x.in = append(append(x.in[:0], "HTTP/1.1 "...), block[9:12]...)
	x.in = append(append(x.in, ' '), reason...)
	x.in = append(x.in, '\r', '\n')
	lineEnd := len(x.in)
	if err := x.appendResponseFields(block[eol+1:], false); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	if len(h.options.names) > 0 {
		x.in = x.in[:lineEnd]
		h.framing = framing{length: -1}
		if err := x.appendResponseFields(block[eol+1:], true); err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
	}
	if err := h.check(); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	if h.status < 200 {
		return nil
	}
	if !h.hasDate {
		x.in = appendField(x.in, "Date: ", x.c.gen.date())
	}
	x.in = appendField(x.in, "X-Request-ID: ", x.id())
	x.in = x.c.gen.responseRules.apply(x.in)
	return nil
}

// parseLine parses the status line (RFC 9112, section 4). The reason and the space before it may be missing.
func (h *responseHead) parseLine(line []byte) (reason []byte, err error) {
	code := line[9:]
	if line[7] != '0' && line[7] != '1' || line[8] != ' ' || len(code) < 3 || len(code) > 3 && code[3] != ' ' {
		return nil, fmt.Errorf("%w: status line", errProtocol)
	}
	for _, c := range code[:3] {
		if c < '0' || c > '9' {
			return nil, fmt.Errorf("%w: status code", errProtocol)
		}
		h.status = h.status*10 + int(c-'0')
	}
	if h.status < 100 {
		return nil, fmt.Errorf("%w: status code", errProtocol)
	}
	if len(code) > 4 {
		reason = code[4:]
	}
	if !validValue(reason) {
		return nil, fmt.Errorf("%w: reason phrase", errProtocol)
	}
	h.http10 = line[7] == '0'
	return reason, nil
}

func (x *exchange) appendResponseFields(raw []byte, second bool) error {
	h := &x.resp
	in, err := copyFields(x.in, raw, &h.options, second, func(id fieldID, _, value []byte) (keep bool, err error) {
		return h.handleField(id, value, second)
	})
	x.in = in
	return err
}

// handleField records a field that the proxy acts on, and says whether it is passed on.
func (h *responseHead) handleField(id fieldID, value []byte, second bool) (keep bool, err error) {
	switch id {
	case fieldHopByHop: // Proxy-Authenticate among them
		h.connectionAuth = h.connectionAuth || authenticatesConnection(value)
		return false, nil
	case fieldRequestID, fieldTE:
		return false, nil
	case fieldChallenge:
		h.connectionAuth = h.connectionAuth || authenticatesConnection(value)
	case fieldUpgrade:
		if h.status == 101 {
			h.upgrade = value
		}
		return h.status == 426, nil // it names the protocol that the server requires (RFC 9110, section 15.5.22)
	case fieldConnection:
		if second {
			return false, nil
		}
		return false, h.options.parse(value)
	case fieldContentLength:
		return h.status >= 200 && h.status != 204, h.contentLength(value)
	case fieldTransferEncoding:
		return false, h.transferEncoding(value)
	case fieldContentType:
		media, _, _ := bytes.Cut(value, []byte{';'})
		h.eventFeed = foldEqual(trimOWS(media), "text/event-stream")
	case fieldDate:
		h.hasDate = true
	}
	return true, nil
}

// check is called after the last field. A response that cannot have a body must not announce one (RFC 9112, section 6.1; RFC 9110,
// section 8.6): a client that waits for that body would take the next response for it.
func (h *responseHead) check() error {
	if h.chunked && (h.length >= 0 || h.http10) {
		return errFraming
	}
	if (h.status < 200 || h.status == 204) && (h.chunked || h.length > 0) {
		return errFraming
	}
	return nil
}
