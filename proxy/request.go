package proxy

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// The header of a request, client to upstream: checked and rewritten in one pass over the raw block. Everything stays in
// place except
//
//   - hop-by-hop fields, those that Connection names, and Expect (the server has answered it): removed;
//   - X-Forwarded-For, -Proto, -Host, -Port, Forwarded, X-Real-IP: removed unless the peer is a trusted proxy, then the
//     first four are written anew; from a trusted proxy they stay, and X-Forwarded-For is extended;
//   - X-Request-ID: replaced by a UUIDv7 unless valid;
//   - Via: one is added.

// viaLine ends each header block that the proxy writes.
const viaLine = "Via: 1.1 wayside\r\n"

// requestHead is what the pass over a request's header finds. Slices point into fasthttp's buffers.
type requestHead struct {
	framing
	target      []byte // request target as sent upstream
	path        []byte // target without the query: what is recorded
	host        []byte
	replaceHost bool // the target carried the authority: it is the Host
	requestID   []byte
	forwarded   []byte // X-Forwarded-For of a trusted peer, its lines joined; owned, reused
	traceparent []byte
	hasHost     bool
	hasProto    bool // a trusted peer sent forwarding fields besides X-Forwarded-For
	options     connectionOptions
}

// reset prepares for the next request and keeps the memory.
func (h *requestHead) reset() {
	names, forwarded := h.options.names[:0], h.forwarded[:0]
	*h = requestHead{framing: framing{length: -1}, forwarded: forwarded}
	h.options.names = names
}

// appendRequestHead checks a request and appends its header, as it goes upstream, to dst.
func (x *exchange) appendRequestHead(dst []byte, req *fasthttp.RequestHeader) ([]byte, error) {
	h := &x.head
	raw := req.RawHeaders()
	if err := h.parseTarget(req.RequestURI(), req.Method()); err != nil {
		return dst, err
	}
	dst = append(dst, req.Method()...)
	dst = append(dst, ' ')
	dst = append(dst, h.target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	if h.replaceHost {
		dst = appendField(dst, "Host: ", h.host)
	}
	lineEnd := len(dst)
	dst, err := x.appendFields(dst, raw)
	if err != nil {
		return dst, err
	}
	if len(h.options.names) > 0 {
		// Rare: fields of the client's own choice are hop-by-hop. Their names are known now; copy again without them.
		h.again()
		if dst, err = x.appendFields(dst[:lineEnd], raw); err != nil {
			return dst, err
		}
	}
	if err = h.check(); err != nil {
		return dst, err
	}
	return x.appendOwnFields(dst, req.IsHTTP11())
}

// again forgets what a first pass found, except the names.
func (h *requestHead) again() {
	old := *h
	h.reset()
	h.options.names = old.options.names
	h.target, h.path, h.host, h.replaceHost = old.target, old.path, old.host, old.replaceHost
}

// appendFields copies the fields that pass through, in runs as long as possible.
func (x *exchange) appendFields(dst, raw []byte) ([]byte, error) {
	h := &x.head
	run, at := 0, 0
	second := len(h.options.names) > 0
	for at < len(raw) {
		name, value, n, err := nextField(raw[at:])
		if err != nil {
			return dst, err
		}
		if n == 0 {
			break
		}
		id := classify(name)
		keep := id == fieldOther
		if !keep {
			if keep, err = h.take(id, value, x.c.trusted, second); err != nil {
				return dst, err
			}
		}
		if !keep || second && h.options.named(name) {
			dst = append(dst, raw[run:at]...)
			run = at + n
		}
		at += n
	}
	return append(dst, raw[run:at]...), nil
}

// take acts on a field that is not simply passed on, and says whether it is.
func (h *requestHead) take(id fieldID, value []byte, trusted, second bool) (keep bool, err error) {
	switch id {
	case fieldHopByHop, fieldExpect:
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
	case fieldHost:
		if h.hasHost {
			return false, errFraming
		}
		h.hasHost = true
		if h.replaceHost {
			return false, nil
		}
		h.host = value
		return true, nil
	case fieldForwardedFor:
		if trusted && len(value) > 0 {
			if len(h.forwarded) > 0 {
				h.forwarded = append(h.forwarded, ", "...)
			}
			h.forwarded = append(h.forwarded, value...)
		}
		return false, nil
	case fieldForwardedProto:
		h.hasProto = h.hasProto || trusted
		return trusted, nil
	case fieldForwardedOther:
		return trusted, nil
	case fieldRequestID:
		if h.requestID == nil && validRequestID(value) {
			h.requestID = value
		}
		return false, nil
	case fieldTraceparent:
		h.traceparent = value
	}
	return true, nil
}

// appendOwnFields writes the fields that are the proxy's own, and the end of the header.
func (x *exchange) appendOwnFields(dst []byte, http11 bool) ([]byte, error) {
	h, c := &x.head, x.c
	if len(h.host) == 0 {
		if http11 || h.hasHost {
			return dst, errFieldSyntax
		}
		dst = appendField(dst, "Host: ", c.p.upstreamHost)
	}
	if h.chunked {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if len(h.forwarded) > 0 || len(c.address) > 0 {
		dst = append(dst, "X-Forwarded-For: "...)
		dst = append(dst, h.forwarded...)
		if len(h.forwarded) > 0 && len(c.address) > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, c.address...)
		dst = append(dst, '\r', '\n')
	}
	if !h.hasProto {
		if len(h.host) > 0 {
			dst = appendField(dst, "X-Forwarded-Host: ", h.host)
		}
		dst = append(dst, c.forwarded...)
	}
	dst = appendField(dst, "X-Request-ID: ", x.id())
	dst = append(dst, viaLine...)
	return append(dst, '\r', '\n'), nil
}

// parseTarget brings the request target into the form that is sent upstream. The absolute form is what clients use
// towards forward proxies; its authority replaces Host (RFC 9112, section 3.2.2).
func (h *requestHead) parseTarget(target, method []byte) error {
	h.target = target
	if len(target) > 0 && target[0] != '/' && !(len(target) == 1 && target[0] == '*') {
		rest, ok := cutSchemeHTTP(target)
		if !ok {
			return errTarget
		}
		end := bytes.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		h.host, h.target, h.replaceHost = rest[:end], rest[end:], true
		if len(h.host) == 0 || bytes.IndexByte(h.host, '@') >= 0 {
			return errTarget
		}
		switch {
		case len(h.target) > 0 && h.target[0] == '/':
		case len(h.target) > 0:
			return errTarget // a query without a path; forwarding it would mean inventing one
		case string(method) == fasthttp.MethodOptions:
			h.target = asterisk
		default:
			h.target = slash
		}
	}
	h.path = h.target
	if i := bytes.IndexAny(h.path, "?#"); i >= 0 {
		h.path = h.path[:i]
	}
	if bytes.IndexByte(h.target, '#') >= 0 {
		return errTarget
	}
	return nil
}

var (
	slash    = []byte("/")
	asterisk = []byte("*")
)

func cutSchemeHTTP(b []byte) ([]byte, bool) {
	if len(b) < 7 || !foldEqual(b[:4], "http") || string(b[4:7]) != "://" {
		return nil, false
	}
	return b[7:], true
}

func appendField(dst []byte, name string, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}
