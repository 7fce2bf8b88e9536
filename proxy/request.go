package proxy

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
)

// The header of a request, client to upstream: checked and rewritten in one pass over the raw block. Everything stays in
// place except
//
//   - hop-by-hop fields, those that Connection names, and imitations such as X_Forwarded_For: removed. TE is written anew where
//     trailers are accepted, Expect where the upstream is to be asked before the body is sent;
//   - X-Forwarded-For, -Proto, -Host, -Port and Forwarded: written anew; from a trusted proxy they stay, and X-Forwarded-For and
//     Forwarded are extended. The forwarding fields of forwarding.go: removed unless the peer is a trusted proxy;
//   - Content-Length: written as the number it is;
//   - X-Request-ID: a new UUIDv7, unless a trusted proxy sent a valid one;
//   - Via: one is added, unless it is switched off.

// Via names the version of the message as it was received (RFC 9110, section 7.6.3).
const (
	via10 = "Via: 1.0 wayside\r\n"
	via11 = "Via: 1.1 wayside\r\n"
)

// Why a request is refused otherwise than with 400.
var (
	errVersion     = errors.New("unknown protocol version")
	errMethod      = errors.New("method not supported")
	errExpectation = errors.New("unknown expectation")
	errHeaderSize  = errors.New("request header too large")
	errTargetSize  = errors.New("request target too long")
)

// requestHead is a request's header and what the pass over it finds. Slices point into raw.
type requestHead struct {
	framing
	raw         []byte // the block as received, from the request line to the empty line; owned, reused
	fields      []byte // raw without the request line
	method      []byte
	target      []byte // request target as sent upstream
	path        []byte // target without the query: what is recorded
	host        []byte
	replaceHost bool // the target carried the authority: it is the Host
	http10      bool
	requestID   []byte
	forwarded   []byte // X-Forwarded-For of a trusted peer, its lines joined; owned, reused
	traceparent []byte
	maxForwards []byte
	hasHost     bool
	hasProto    bool // a trusted peer sent forwarding fields besides X-Forwarded-For
	hasElements bool // a trusted peer sent Forwarded
	loggingIn   bool // Authorization speaks for the connection, see login.go
	expect      bool // Expect: 100-continue
	trailers    bool // TE: trailers
	upgrade     []byte
	options     connectionOptions
}

// reset prepares for the next request and keeps the memory.
func (h *requestHead) reset() {
	names, forwarded, raw := h.options.names[:0], h.forwarded[:0], h.raw[:0]
	*h = requestHead{framing: framing{length: -1}, forwarded: forwarded, raw: raw}
	h.options.names = names
}

// hasBody reports whether bytes of the message follow the header.
func (h *requestHead) hasBody() bool { return h.chunked || h.length > 0 }

// persistent reports whether the client lets the connection live on after this request.
func (h *requestHead) persistent() bool {
	return !h.options.close && (!h.http10 || h.options.keepAlive)
}

// is compares the method, which is case-sensitive.
func (h *requestHead) is(method string) bool { return string(h.method) == method }

// appendRequestHead checks the request in x.head.raw and appends its header, as it goes upstream, to dst.
func (x *exchange) appendRequestHead(dst []byte) ([]byte, error) {
	h := &x.head
	if err := h.parseLine(); err != nil {
		return dst, err
	}
	dst = append(dst, h.method...)
	dst = append(dst, ' ')
	dst = append(dst, h.target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	if h.replaceHost {
		dst = appendField(dst, "Host: ", h.host)
	}
	lineEnd := len(dst)
	dst, err := x.appendFields(dst)
	if err != nil {
		return dst, err
	}
	if len(h.options.names) > 0 {
		// Rare: fields of the client's own choice are hop-by-hop. Their names are known now; copy again without them.
		h.again()
		if dst, err = x.appendFields(dst[:lineEnd]); err != nil {
			return dst, err
		}
	}
	if err = h.check(); err != nil {
		return dst, err
	}
	// A client that has begun to send its body does not wait for anybody's word.
	x.asking = h.expect && h.hasBody() && x.c.br.Buffered() == 0
	x.upgrading = h.upgradable()
	return x.appendOwnFields(dst), nil
}

// again forgets what a first pass found in the fields, except the connection options.
func (h *requestHead) again() {
	old := *h
	h.reset()
	h.raw, h.fields, h.options = old.raw, old.fields, old.options
	h.method, h.target, h.path, h.http10 = old.method, old.target, old.path, old.http10
	if old.replaceHost {
		h.host, h.replaceHost = old.host, true
	}
}

// check is called after the last field.
func (h *requestHead) check() error {
	switch {
	case h.chunked && (h.length >= 0 || h.http10): // RFC 9112, section 6.1
		return errFraming
	case !h.hasHost && !h.http10: // also with the absolute form (RFC 9112, section 3.2)
		return errFieldSyntax
	case h.is("TRACE") && h.hasBody(): // RFC 9110, section 9.3.8
		return errFraming
	}
	return nil
}

// appendFields copies the fields that pass through, in runs as long as possible.
func (x *exchange) appendFields(dst []byte) ([]byte, error) {
	h, raw := &x.head, x.head.fields
	run, at := 0, 0
	second := len(h.options.names) > 0
	for {
		name, value, n, err := nextField(raw[at:])
		if err != nil {
			return dst, err
		}
		if n == 0 {
			return append(dst, raw[run:at]...), nil
		}
		id := classify(name)
		keep := id == fieldOther || id == fieldForwardedOther && x.c.p.passes(name)
		if !keep {
			if keep, err = h.take(id, value, x.c.trusted, second); err != nil {
				return dst, err
			}
		}
		if id == fieldContentLength {
			value = plainLength(value)
		}
		keep = keep && !(second && h.options.named(name))
		if !keep || !plainField(raw[at:], name, value, n) {
			dst = append(dst, raw[run:at]...)
			run = at + n
			if keep {
				dst = appendPlain(dst, name, value)
			}
		}
		at += n
	}
}

// take acts on a field that is not simply passed on, and says whether it is.
func (h *requestHead) take(id fieldID, value []byte, trusted, second bool) (keep bool, err error) {
	switch id {
	case fieldHopByHop, fieldImitation:
		return false, nil
	case fieldConnection:
		if second {
			return false, nil
		}
		return false, h.options.take(value)
	case fieldContentLength:
		return true, h.contentLength(value)
	case fieldTransferEncoding:
		return false, h.transferEncoding(value)
	case fieldHost:
		return h.takeHost(value)
	case fieldUpgrade:
		if len(h.upgrade) > 0 {
			return false, errFieldSyntax
		}
		h.upgrade = value
		return false, nil
	case fieldTrailer:
		return h.takeTrailer(value)
	case fieldTE:
		h.trailers = h.trailers || hasToken(value, "trailers")
		return false, nil
	case fieldExpect:
		return false, h.takeExpect(value)
	case fieldMaxForwards:
		h.maxForwards = value
		return !h.counted(), nil
	case fieldForwardedFor, fieldForwardedProto, fieldForwarded, fieldForwardedOther:
		return h.takeForwarded(id, value, trusted), nil
	case fieldRequestID:
		if trusted && h.requestID == nil && validRequestID(value) {
			h.requestID = value
		}
		return false, nil
	case fieldTraceparent:
		h.traceparent = value
	case fieldAuthorization:
		h.loggingIn = h.loggingIn || speaksForConnection(value)
	}
	return true, nil
}

// takeTrailer refuses to announce what trailerRule will refuse: some servers reject the announcement, others wait for the field.
func (h *requestHead) takeTrailer(value []byte) (keep bool, err error) {
	for _, name := range []string{"content-length", "transfer-encoding", "host", "trailer"} {
		if hasToken(value, name) {
			return false, errFraming
		}
	}
	return !h.http10, nil
}

// counted reports whether Max-Forwards counts for this method (RFC 9110, section 7.6.2); with others it is only passed on.
func (h *requestHead) counted() bool { return h.is("OPTIONS") || h.is("TRACE") }

// hopsLeft gives the value of a Max-Forwards that counts. One that is not a number is dropped.
func (h *requestHead) hopsLeft() (n int64, ok bool) {
	if len(h.maxForwards) == 0 || !h.counted() {
		return 0, false
	}
	n, err := parseLength(h.maxForwards)
	return n, err == nil
}

// takeHost allows one Host, and only one that names a host (RFC 9112, section 3.2).
func (h *requestHead) takeHost(value []byte) (keep bool, err error) {
	if h.hasHost || !validHost(value) {
		return false, errFieldSyntax
	}
	h.hasHost = true
	if h.replaceHost {
		return false, nil
	}
	h.host = value
	return true, nil
}

// takeExpect knows one expectation (RFC 9110, section 10.1.1). Others are refused rather than passed on: who has to fulfil
// them is what servers disagree about. HTTP/1.0 has none.
func (h *requestHead) takeExpect(value []byte) error {
	if h.http10 {
		return nil
	}
	if h.expect || !foldEqual(value, "100-continue") {
		return errExpectation
	}
	h.expect = true
	return nil
}

func (h *requestHead) takeForwarded(id fieldID, value []byte, trusted bool) (keep bool) {
	if id != fieldForwardedFor {
		h.hasElements = h.hasElements || trusted && id == fieldForwarded
		h.hasProto = h.hasProto || trusted && id == fieldForwardedProto
		return trusted
	}
	if trusted && len(value) > 0 {
		if len(h.forwarded) > 0 {
			h.forwarded = append(h.forwarded, ", "...)
		}
		h.forwarded = append(h.forwarded, value...)
	}
	return false
}

// appendOwnFields writes the fields that are the proxy's own, and the end of the header.
func (x *exchange) appendOwnFields(dst []byte) []byte {
	h, c := &x.head, x.c
	if len(h.host) == 0 { // HTTP/1.0
		dst = appendField(dst, "Host: ", c.p.upstreamHost)
	}
	if h.chunked {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if x.asking {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	if n, ok := h.hopsLeft(); ok {
		dst = strconv.AppendInt(append(dst, "Max-Forwards: "...), n-1, 10)
		dst = append(dst, '\r', '\n')
	}
	switch {
	case x.upgrading:
		dst = appendField(dst, "Connection: Upgrade\r\nUpgrade: ", h.upgrade)
	case h.trailers && !h.http10:
		dst = append(dst, "TE: trailers\r\nConnection: TE\r\n"...)
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
	if !h.elsewhere() {
		dst = append(append(dst, "Forwarded: for="...), c.element...)
		if len(h.host) > 0 {
			dst = append(append(append(dst, ";host=\""...), h.host...), '"')
		}
		dst = append(dst, ";proto=http\r\n"...)
	}
	dst = appendField(dst, "X-Request-ID: ", x.id())
	switch {
	case c.p.o.NoVia:
	case h.http10:
		dst = append(dst, via10...)
	default:
		dst = append(dst, via11...)
	}
	return append(c.p.requestRules.apply(dst), '\r', '\n')
}

// elsewhere reports whether a trusted peer tells where the request comes from in the X-Forwarded fields only: a Forwarded that
// began here would name that peer as the client.
func (h *requestHead) elsewhere() bool { return !h.hasElements && (h.hasProto || len(h.forwarded) > 0) }

// appendForElement appends the node that Forwarded names a peer by (RFC 7239, section 6).
func appendForElement(dst []byte, addr netip.Addr, ok bool) []byte {
	switch {
	case !ok:
		return append(dst, "unknown"...)
	case addr.Is4():
		return addr.AppendTo(dst)
	}
	return append(addr.AppendTo(append(dst, "\"["...)), "]\""...)
}

// value finds the first field of a lower-case name, for the rare cases that need one. The header may not have been checked.
func (h *requestHead) value(lower string) []byte {
	for raw := h.fields; ; {
		name, value, n, err := nextField(raw)
		if err != nil || n == 0 {
			return nil
		}
		if foldEqual(name, lower) {
			return value
		}
		raw = raw[n:]
	}
}

func appendField(dst []byte, name string, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

// hasToken looks for a token in a comma-separated list; parameters behind ";" are not looked at.
func hasToken(list []byte, lower string) bool {
	for len(list) > 0 {
		var member []byte
		member, list, _ = bytes.Cut(list, []byte{','})
		member, _, _ = bytes.Cut(member, []byte{';'})
		if foldEqual(trimOWS(member), lower) {
			return true
		}
	}
	return false
}
