package proxy

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
)

// The header of a request, from client to upstream. It is checked and rewritten in one pass over the raw block. All fields stay
// in place, with these exceptions:
//
//   - Hop-by-hop fields, fields that Connection names, and imitations such as X_Forwarded_For are removed. TE is written again if
//     trailers are accepted, and Expect if the upstream must be asked before the body is sent.
//   - X-Forwarded-For, -Proto, -Host, -Port and Forwarded are replaced. From a trusted proxy they stay, and X-Forwarded-For and
//     Forwarded are extended. The fields of forwarding.go are removed unless the peer is a trusted proxy.
//   - Content-Length is written without leading zeros.
//   - X-Request-ID becomes a new UUIDv7, unless a trusted proxy sent a valid one.
//   - Via is added, unless it is switched off.

// Via names the version of the message as it was received (RFC 9110, section 7.6.3).
const (
	via10 = "Via: 1.0 wayside\r\n"
	via11 = "Via: 1.1 wayside\r\n"
)

// Reasons to refuse a request with another status than 400.
var (
	errVersion     = errors.New("unknown protocol version")
	errMethod      = errors.New("method not supported")
	errExpectation = errors.New("unknown expectation")
	errHeaderSize  = errors.New("request header too large")
	errTargetSize  = errors.New("request target too long")
)

// requestHead is a request's header, and the values that the pass over it finds. Slices point into raw.
type requestHead struct {
	framing
	raw            []byte // the block as received, from the request line to the empty line; owned, reused
	fields         []byte // raw without the request line
	method         []byte
	target         []byte // request target as sent upstream
	path           []byte // target without the query, as recorded
	host           []byte
	replaceHost    bool // the target carried an authority, which replaces Host
	http10         bool
	requestID      []byte
	forwarded      []byte // X-Forwarded-For of a trusted peer, its lines joined; owned, reused
	traceparent    []byte
	maxForwards    []byte
	hasHost        bool
	hasProto       bool // a trusted peer sent X-Forwarded-Proto, -Host or -Port
	hasElements    bool // a trusted peer sent Forwarded
	connectionAuth bool // Authorization authenticates the connection, see pinned.go
	expect         bool // Expect: 100-continue
	trailers       bool // TE: trailers
	upgrade        []byte
	options        connectionOptions
}

// reset prepares for the next request and keeps the buffers.
func (h *requestHead) reset() {
	names, forwarded, raw := h.options.names[:0], h.forwarded[:0], h.raw[:0]
	*h = requestHead{framing: framing{length: -1}, forwarded: forwarded, raw: raw}
	h.options.names = names
}

// hasBody reports whether bytes of the message follow the header.
func (h *requestHead) hasBody() bool { return h.chunked || h.length > 0 }

// persistent reports whether the client keeps the connection open after this request.
func (h *requestHead) persistent() bool {
	return !h.options.close && (!h.http10 || h.options.keepAlive)
}

// is compares the method. Case matters.
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
		// Rare: Connection names further fields. They are all known only now: copy again, without them.
		h.restartFields()
		if dst, err = x.appendFields(dst[:lineEnd]); err != nil {
			return dst, err
		}
	}
	if err = h.check(); err != nil {
		return dst, err
	}
	// A client that has begun to send its body does not wait for 100 Continue.
	x.awaitingContinue = h.expect && h.hasBody() && x.c.br.Buffered() == 0
	x.upgrading = h.upgradable()
	return x.appendOwnFields(dst), nil
}

// restartFields prepares for a second pass over the fields. It keeps only the request line and the connection options.
func (h *requestHead) restartFields() {
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

// appendFields copies the fields that are passed on.
func (x *exchange) appendFields(dst []byte) ([]byte, error) {
	h := &x.head
	second := len(h.options.names) > 0
	return copyFields(dst, h.fields, &h.options, second, func(id fieldID, name, value []byte) (keep bool, err error) {
		if id == fieldForwardedOther && x.c.gen.passes(name) {
			return true, nil
		}
		return h.handleField(id, value, x.c.trusted, second)
	})
}

// handleField records a field that the proxy acts on, and says whether it is passed on.
func (h *requestHead) handleField(id fieldID, value []byte, trusted, second bool) (keep bool, err error) {
	switch id {
	case fieldHopByHop, fieldImitation:
		return false, nil
	case fieldConnection:
		if second {
			return false, nil
		}
		return false, h.options.parse(value)
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
		return !h.maxForwardsApplies(), nil
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
		h.connectionAuth = h.connectionAuth || authenticatesConnection(value)
	}
	return true, nil
}

// takeTrailer refuses to announce a field that trailerRule will refuse: some servers reject the announcement, others wait for the field.
func (h *requestHead) takeTrailer(value []byte) (keep bool, err error) {
	for _, name := range []string{"content-length", "transfer-encoding", "host", "trailer"} {
		if hasToken(value, name) {
			return false, errFraming
		}
	}
	return !h.http10, nil
}

// maxForwardsApplies reports whether Max-Forwards has a meaning for this method (RFC 9110, section 7.6.2). With others it is passed on.
func (h *requestHead) maxForwardsApplies() bool { return h.is("OPTIONS") || h.is("TRACE") }

// hopsLeft returns the value of Max-Forwards if it applies. A value that is not a number is ignored.
func (h *requestHead) hopsLeft() (n int64, ok bool) {
	if len(h.maxForwards) == 0 || !h.maxForwardsApplies() {
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

// takeExpect knows one expectation (RFC 9110, section 10.1.1). Others are refused, because servers disagree about who must fulfil
// them. HTTP/1.0 has no expectations.
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

// appendOwnFields appends the fields that the proxy writes itself, and the end of the header.
func (x *exchange) appendOwnFields(dst []byte) []byte {
	h, c := &x.head, x.c
	if len(h.host) == 0 { // HTTP/1.0
		dst = appendField(dst, "Host: ", c.gen.upstreamHost)
	}
	if h.chunked {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if x.awaitingContinue {
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
	if !h.xForwardedOnly() {
		dst = append(append(dst, "Forwarded: for="...), c.element...)
		if len(h.host) > 0 {
			dst = append(append(append(dst, ";host=\""...), h.host...), '"')
		}
		dst = append(dst, ";proto=http\r\n"...)
	}
	dst = appendField(dst, "X-Request-ID: ", x.id())
	switch {
	case c.gen.o.NoVia:
	case h.http10:
		dst = append(dst, via10...)
	default:
		dst = append(dst, via11...)
	}
	return append(c.gen.requestRules.apply(dst), '\r', '\n')
}

// xForwardedOnly reports whether a trusted peer named the client in X-Forwarded fields and sent no Forwarded. A new Forwarded would
// then name that peer as the client.
func (h *requestHead) xForwardedOnly() bool {
	return !h.hasElements && (h.hasProto || len(h.forwarded) > 0)
}

// appendForElement appends a peer as the node of a Forwarded element (RFC 7239, section 6).
func appendForElement(dst []byte, addr netip.Addr, ok bool) []byte {
	switch {
	case !ok:
		return append(dst, "unknown"...)
	case addr.Is4():
		return addr.AppendTo(dst)
	}
	return append(addr.AppendTo(append(dst, "\"["...)), "]\""...)
}

// value returns the first field with a lower-case name. It is slow, and the header may not have been checked.
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

// hasToken looks for a token in a comma-separated list. It ignores parameters after ";".
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
