package http1

import (
	"bytes"
	"slices"
	"strings"
)

// This file checks and rewrites the header of a request, from client to upstream, in one pass over the raw block. All fields remain in
// place, with these exceptions:
//
//   - Hop-by-hop fields, fields that Connection names, and imitations such as X_Forwarded_For are removed. TE is written again if
//     trailers are accepted, and Expect if the upstream must agree before the body is sent.
//   - X-Forwarded-For, -Proto, -Host, -Port and Forwarded are replaced. If they come from a trusted proxy, they are kept, and
//     X-Forwarded-For and Forwarded are extended. The fields in forwarding.go are removed unless the peer is a trusted proxy.
//   - Content-Length is written without leading zeros.
//   - X-Request-ID becomes a new UUIDv7, unless a trusted proxy sent a valid one.
//   - Via is added, unless it is switched off.

// Request is a request's header together with the results of parsing it. Slices point into Raw unless they are marked as owned.
type Request struct {
	Framing
	Raw            []byte // the block as received, from the request line to the empty line; owned, reused
	Method         []byte
	Target         []byte // request target as it is sent upstream
	Path           []byte // target without the query, as recorded
	Host           []byte
	HTTP10         bool
	HTTP2          bool   // the request came over HTTP/2, and Raw is its HTTP/1.1 form
	RequestID      []byte // X-Request-ID from a trusted peer; nil if there is none or it is invalid
	Traceparent    []byte
	Upgrade        []byte
	ContentType    []byte
	Expect         bool // Expect: 100-continue
	ConnectionAuth bool // Authorization authenticates the connection

	fields      []byte // Raw without the request line
	replaceHost bool   // the target contained an authority, which replaces Host
	forwarded   []byte // X-Forwarded-For from a trusted peer, its lines joined; owned, reused
	elements    []byte // Forwarded from a trusted peer, its lines joined; owned, reused
	upgrades    []byte // Upgrade, its lines joined if there are several; owned, reused
	maxForwards []byte
	hasHost     bool
	hasProto    bool // a trusted peer sent X-Forwarded-Proto, -Host or -Port
	hasElements bool // a trusted peer sent Forwarded
	trailers    bool // TE: trailers
	complete    bool // all fields have been read
	options     connectionOptions
}

// Peer describes who sends the requests on a connection.
type Peer struct {
	Trusted   bool   // it may set forwarding fields
	Address   []byte // its address, for X-Forwarded-For; empty if it has none
	Element   []byte // its element for Forwarded
	Forwarded []byte // the lines of X-Forwarded-Proto and -Port
	TLS       bool   // the connection is encrypted
	Name      []byte // the name in the client's verified certificate; empty if there is none
}

// RequestOptions are the options for request headers.
type RequestOptions struct {
	UpstreamHost []byte   // the Host for requests that have none
	PassFields   []string // forwarding fields that are passed on from all peers
	NoVia        bool     // do not add Via
	Rules        *Rules
}

// Reset prepares for the next request and keeps the buffers.
func (h *Request) Reset() {
	names, forwarded, elements, upgrades, raw := h.options.names[:0], h.forwarded[:0], h.elements[:0], h.upgrades[:0], h.Raw[:0]
	*h = Request{Framing: Framing{Length: -1}, forwarded: forwarded, elements: elements, upgrades: upgrades, Raw: raw}
	h.options.names = names
}

// HasBody reports whether bytes of the message follow the header.
func (h *Request) HasBody() bool { return h.Chunked || h.Length > 0 }

// Persistent reports whether the client keeps the connection open after this request.
func (h *Request) Persistent() bool {
	return !h.options.close && (!h.HTTP10 || h.options.keepAlive)
}

// Is reports whether this is the request's method. Methods are case-sensitive.
func (h *Request) Is(method string) bool { return string(h.Method) == method }

// Rewrite checks the request in Raw and appends its request line, and the fields that are passed on, to dst. Finish appends the rest. If
// Rewrite fails, h keeps the parts that have been parsed, because they are recorded.
func (h *Request) Rewrite(dst []byte, peer *Peer, o *RequestOptions) ([]byte, error) {
	if err := h.ParseLine(); err != nil {
		return dst, err
	}
	dst = append(dst, h.Method...)
	dst = append(dst, ' ')
	dst = append(dst, h.Target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	if h.replaceHost {
		dst = AppendField(dst, "Host: ", h.Host)
	}
	lineEnd := len(dst)
	dst, err := h.appendFields(dst, peer, o)
	if err != nil {
		return dst, err
	}
	if len(h.options.names) > 0 {
		// Rare: Connection names further fields. Only now are all of their names known, so copy the fields again without them.
		h.restartFields()
		if dst, err = h.appendFields(dst[:lineEnd], peer, o); err != nil {
			return dst, err
		}
	}
	h.complete = true
	return dst, h.check()
}

// restartFields prepares for a second pass over the fields. It keeps only the request line and the connection options.
func (h *Request) restartFields() {
	old := *h
	h.Reset()
	h.Raw, h.fields, h.options, h.HTTP2 = old.Raw, old.fields, old.options, old.HTTP2
	h.Method, h.Target, h.Path, h.HTTP10 = old.Method, old.Target, old.Path, old.HTTP10
	if old.replaceHost {
		h.Host, h.replaceHost = old.Host, true
	}
}

// check is called after the last field.
func (h *Request) check() error {
	switch {
	case h.Chunked && (h.Length >= 0 || h.HTTP10): // RFC 9112, section 6.1
		return ErrFraming
	case !h.hasHost && !h.HTTP10: // required even with the absolute form (RFC 9112, section 3.2)
		return ErrSyntax
	case h.Is("TRACE") && h.HasBody(): // RFC 9110, section 9.3.8
		return ErrFraming
	}
	return nil
}

// appendFields copies the fields that are passed on.
func (h *Request) appendFields(dst []byte, peer *Peer, o *RequestOptions) ([]byte, error) {
	second := len(h.options.names) > 0
	return copyFields(dst, h.fields, &h.options, second, func(id fieldID, name, value []byte) (keep bool, err error) {
		if id == fieldForwardedOther && o.passes(name) {
			return true, nil
		}
		return h.handleField(id, value, peer.Trusted, second)
	})
}

// passes reports whether a forwarding field is passed on from all peers.
func (o *RequestOptions) passes(name []byte) bool {
	for _, passed := range o.PassFields {
		if strings.EqualFold(passed, string(name)) {
			return true
		}
	}
	return false
}

// handleField records a field that needs special treatment. It returns whether the field is passed on.
func (h *Request) handleField(id fieldID, value []byte, trusted, second bool) (keep bool, err error) {
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
		h.Upgrade, h.upgrades = joinLines(h.Upgrade, value, h.upgrades)
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
		if trusted && h.RequestID == nil && validRequestID(value) {
			h.RequestID = value
		}
		return false, nil
	case fieldTraceparent:
		h.Traceparent = value
	case fieldContentType:
		h.ContentType = value
	case fieldAuthorization:
		h.ConnectionAuth = h.ConnectionAuth || authenticatesConnection(value)
	}
	return true, nil
}

// joinLines adds a line to a list field, which may be split into several lines (RFC 9110, section 5.3). A single line is not copied; several are
// joined in buf.
func joinLines(list, value, buf []byte) (joined, grown []byte) {
	switch {
	case len(value) == 0:
		return list, buf
	case len(list) == 0:
		return value, buf
	case len(buf) == 0:
		buf = append(buf, list...)
	}
	buf = append(append(buf, ", "...), value...)
	return buf, buf
}

// takeTrailer checks a Trailer field, and reports whether to pass it on. A field that trailerRule will refuse must not be announced: some
// servers reject such an announcement, and others wait for the field.
func (h *Request) takeTrailer(value []byte) (keep bool, err error) {
	for _, name := range []string{"content-length", "transfer-encoding", "host", "trailer"} {
		if hasToken(value, name) {
			return false, ErrFraming
		}
	}
	for name := range bytes.SplitSeq(value, []byte(",")) {
		if name = bytes.Trim(name, " \t"); slices.ContainsFunc(name, func(c byte) bool { return !isToken[c] }) {
			return false, nil // other parsers may find other names in such a value
		}
	}
	return !h.HTTP10, nil
}

// maxForwardsApplies reports whether Max-Forwards is defined for this method (RFC 9110, section 7.6.2). With other methods, the field is
// simply passed on.
func (h *Request) maxForwardsApplies() bool { return h.Is("OPTIONS") || h.Is("TRACE") }

// HopsLeft returns the value of Max-Forwards if it applies. A value that is not a number is ignored.
func (h *Request) HopsLeft() (n int64, ok bool) {
	if len(h.maxForwards) == 0 || !h.maxForwardsApplies() {
		return 0, false
	}
	n, err := parseLength(h.maxForwards)
	return n, err == nil
}

// takeHost allows only one Host, which must name a host (RFC 9112, section 3.2).
func (h *Request) takeHost(value []byte) (keep bool, err error) {
	if h.hasHost || !validHost(value) {
		return false, ErrSyntax
	}
	h.hasHost = true
	if h.replaceHost {
		return false, nil
	}
	h.Host = value
	return true, nil
}

// takeExpect accepts only 100-continue (RFC 9110, section 10.1.1). Other expectations are refused, because servers disagree about who must
// fulfill them. HTTP/1.0 has no expectations.
func (h *Request) takeExpect(value []byte) error {
	if h.HTTP10 {
		return nil
	}
	if h.Expect || !foldEqual(value, "100-continue") {
		return ErrExpectation
	}
	h.Expect = true
	return nil
}

func (h *Request) takeForwarded(id fieldID, value []byte, trusted bool) (keep bool) {
	if id != fieldForwardedFor {
		h.hasElements = h.hasElements || trusted && id == fieldForwarded
		h.hasProto = h.hasProto || trusted && id == fieldForwardedProto
		if trusted && id == fieldForwarded {
			h.elements = appendLine(h.elements, value)
		}
		return trusted
	}
	if trusted {
		h.forwarded = appendLine(h.forwarded, value)
	}
	return false
}

// appendLine appends a line of a list field to the earlier lines.
func appendLine(list, value []byte) []byte {
	if len(value) > 0 && len(list) > 0 {
		list = append(list, ", "...)
	}
	return append(list, value...)
}

// Value returns the value of the first field with this name, which must be in lower case. It is slow, but works even if the header has
// not been checked.
func (h *Request) Value(lower string) []byte { return FieldValue(h.fields, lower) }

// RequestIDBytesMax limits the length of an X-Request-ID that a client may set.
const RequestIDBytesMax = 128

// validRequestID accepts 1 to 128 bytes of letters, digits and . _ ~ + / = : -
func validRequestID(b []byte) bool {
	if len(b) == 0 || len(b) > RequestIDBytesMax {
		return false
	}
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == '~', c == '+', c == '/', c == '=', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}
