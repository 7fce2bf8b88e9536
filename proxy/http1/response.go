package http1

import (
	"bytes"
	"fmt"
)

// This file checks and rewrites the header of a response, from upstream to client, in one pass, as request.go does for requests. Fields
// keep their order and case. Hop-by-hop fields are removed. X-Request-ID is replaced with that of the request. Date is added if it is
// missing (RFC 9110, section 6.6.1).

// Response contains the results of parsing a response's header.
type Response struct {
	Framing
	Status         int
	HTTP10         bool
	EventStream    bool   // text/event-stream
	ConnectionAuth bool   // the response asks for credentials that authenticate the connection
	Upgrade        []byte // points into the block, or into upgrades

	hasDate  bool
	upgrades []byte // Upgrade, its lines joined if there are several; owned, reused
	options  connectionOptions
}

// Reset prepares for the next response and keeps the buffers.
func (h *Response) Reset() {
	names, upgrades := h.options.names[:0], h.upgrades[:0]
	*h = Response{Framing: Framing{Length: -1}, upgrades: upgrades}
	h.options.names = names
}

// Closes reports whether the upstream closes the connection after this response.
func (h *Response) Closes() bool {
	return h.options.close || h.HTTP10 && !h.options.keepAlive
}

// BlockEnd finds the end of a header block. If the block is incomplete, it returns 0 and the offset at which to continue the search. An
// empty line without CR also ends the block, so that such a block is refused immediately.
func BlockEnd(b []byte, at int) (end, next int) {
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

// Rewrite checks a header block and appends its status line, and the fields that are passed on, to dst. The caller appends its own fields and the
// empty line. The error wraps ErrResponse.
func (h *Response) Rewrite(dst, block []byte) ([]byte, error) {
	eol := bytes.IndexByte(block, '\n')
	if eol < 13 || block[eol-1] != '\r' || !bytes.HasPrefix(block, []byte("HTTP/1.")) {
		return dst, fmt.Errorf("%w: status line", ErrResponse)
	}
	reason, err := h.parseLine(block[:eol-1])
	if err != nil {
		return dst, err
	}
	dst = append(append(dst, "HTTP/1.1 "...), block[9:12]...)
	dst = append(append(dst, ' '), reason...)
	dst = append(dst, '\r', '\n')
	lineEnd := len(dst)
	if dst, err = h.appendFields(dst, block[eol+1:], false); err != nil {
		return dst, fmt.Errorf("%w: %w", ErrResponse, err)
	}
	if len(h.options.names) > 0 {
		h.Framing = Framing{Length: -1}
		if dst, err = h.appendFields(dst[:lineEnd], block[eol+1:], true); err != nil {
			return dst, fmt.Errorf("%w: %w", ErrResponse, err)
		}
	}
	if err := h.check(); err != nil {
		return dst, fmt.Errorf("%w: %w", ErrResponse, err)
	}
	return dst, nil
}

// Finish appends the proxy's own fields to a final response, without the empty line.
func (h *Response) Finish(dst, date, requestID []byte, rules *Rules) []byte {
	if !h.hasDate {
		dst = AppendField(dst, "Date: ", date)
	}
	if h.Status == 426 && len(h.Upgrade) > 0 {
		dst = append(dst, "Connection: upgrade\r\n"...) // Upgrade must be named in Connection (RFC 9110, section 7.8)
	}
	return rules.Apply(AppendField(dst, "X-Request-ID: ", requestID))
}

// parseLine parses the status line (RFC 9112, section 4). The reason and the space before it may be missing.
func (h *Response) parseLine(line []byte) (reason []byte, err error) {
	code := line[9:]
	if line[7] != '0' && line[7] != '1' || line[8] != ' ' || len(code) < 3 || len(code) > 3 && code[3] != ' ' {
		return nil, fmt.Errorf("%w: status line", ErrResponse)
	}
	for _, c := range code[:3] {
		if c < '0' || c > '9' {
			return nil, fmt.Errorf("%w: status code", ErrResponse)
		}
		h.Status = h.Status*10 + int(c-'0')
	}
	if h.Status < 100 {
		return nil, fmt.Errorf("%w: status code", ErrResponse)
	}
	if len(code) > 4 {
		reason = code[4:]
	}
	if !validValue(reason) {
		return nil, fmt.Errorf("%w: reason phrase", ErrResponse)
	}
	h.HTTP10 = line[7] == '0'
	return reason, nil
}

func (h *Response) appendFields(dst, raw []byte, second bool) ([]byte, error) {
	return copyFields(dst, raw, &h.options, second, func(id fieldID, _, value []byte) (keep bool, err error) {
		return h.handleField(id, value, second)
	})
}

// handleField records a field that needs special treatment. It returns whether the field is passed on.
func (h *Response) handleField(id fieldID, value []byte, second bool) (keep bool, err error) {
	switch id {
	case fieldHopByHop: // includes Proxy-Authenticate
		h.ConnectionAuth = h.ConnectionAuth || authenticatesConnection(value)
		return false, nil
	case fieldRequestID, fieldTE:
		return false, nil
	case fieldChallenge:
		h.ConnectionAuth = h.ConnectionAuth || authenticatesConnection(value)
	case fieldUpgrade:
		if !second && (h.Status == 101 || h.Status == 426) {
			h.Upgrade, h.upgrades = joinLines(h.Upgrade, value, h.upgrades)
		}
		return h.Status == 426, nil // with 426, Upgrade names the protocol that the server requires (RFC 9110, section 15.5.22)
	case fieldConnection:
		if second {
			return false, nil
		}
		return false, h.options.parse(value)
	case fieldContentLength:
		return h.Status >= 200 && h.Status != 204, h.contentLength(value)
	case fieldTransferEncoding:
		return false, h.transferEncoding(value)
	case fieldContentType:
		media, _, _ := bytes.Cut(value, []byte{';'})
		h.EventStream = foldEqual(trimOWS(media), "text/event-stream")
	case fieldDate:
		h.hasDate = true
	}
	return true, nil
}

// check is called after the last field. A response that cannot have a body must not announce one (RFC 9112, section 6.1; RFC 9110,
// section 8.6): a client that waits for the body would mistake the next response for the body.
func (h *Response) check() error {
	if h.Chunked && (h.Length >= 0 || h.HTTP10) {
		return ErrFraming
	}
	if (h.Status < 200 || h.Status == 204) && (h.Chunked || h.Length > 0) {
		return ErrFraming
	}
	return nil
}

// FramingOf returns how the body after a header block is framed. The block must have been written by this package or by the proxy itself.
func FramingOf(block []byte) Framing {
	f := Framing{Length: -1}
	at := bytes.IndexByte(block, '\n') + 1
	for {
		name, value, n, err := nextField(block[at:])
		if n == 0 || err != nil {
			return f
		}
		switch classifyLong(name) {
		case fieldContentLength:
			_ = f.contentLength(value)
		case fieldTransferEncoding:
			_ = f.transferEncoding(value)
		}
		at += n
	}
}
