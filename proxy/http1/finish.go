package http1

import "strconv"

// This file writes the fields of a request that come from the proxy itself.

// The lines of Via contain the protocol version in which the message was received (RFC 9110, section 7.6.3).
const (
	via10 = "Via: 1.0 wayside\r\n"
	via11 = "Via: 1.1 wayside\r\n"
	via2  = "Via: 2.0 wayside\r\n"
)

// Own selects the fields that the proxy adds to a single request.
type Own struct {
	RequestID []byte
	Continue  bool // Expect: 100-continue
	Upgrade   bool // the upstream is asked to switch protocols
	// WebSocketKey is the Sec-WebSocket-Key. It is empty if the client itself has sent one.
	WebSocketKey []byte
}

// Finish appends the fields that the proxy itself writes, and the end of the header.
func (h *Request) Finish(dst []byte, peer *Peer, o *RequestOptions, own Own) []byte {
	if len(h.Host) == 0 { // HTTP/1.0
		dst = AppendField(dst, "Host: ", o.UpstreamHost)
	}
	if h.Chunked {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if own.Continue {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	if n, ok := h.HopsLeft(); ok {
		dst = strconv.AppendInt(append(dst, "Max-Forwards: "...), n-1, 10)
		dst = append(dst, '\r', '\n')
	}
	switch {
	case own.Upgrade:
		dst = h.appendUpgrade(dst, own.WebSocketKey)
	case h.trailers && !h.HTTP10:
		dst = append(dst, "TE: trailers\r\nConnection: TE\r\n"...)
	}
	if len(h.forwarded) > 0 || len(peer.Address) > 0 {
		dst = append(dst, "X-Forwarded-For: "...)
		dst = append(dst, h.forwarded...)
		if len(h.forwarded) > 0 && len(peer.Address) > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, peer.Address...)
		dst = append(dst, '\r', '\n')
	}
	if !h.hasProto {
		if len(h.Host) > 0 {
			dst = AppendField(dst, "X-Forwarded-Host: ", h.Host)
		}
		dst = append(dst, peer.Forwarded...)
	}
	if !h.xForwardedOnly() {
		dst = append(append(dst, "Forwarded: for="...), peer.Element...)
		if len(h.Host) > 0 {
			dst = append(append(append(dst, ";host=\""...), h.Host...), '"')
		}
		if peer.TLS {
			dst = append(dst, ";proto=https\r\n"...)
		} else {
			dst = append(dst, ";proto=http\r\n"...)
		}
	}
	dst = AppendField(dst, "X-Request-ID: ", own.RequestID)
	switch {
	case o.NoVia:
	case h.HTTP2:
		dst = append(dst, via2...)
	case h.HTTP10:
		dst = append(dst, via10...)
	default:
		dst = append(dst, via11...)
	}
	return append(o.Rules.ApplyNamed(dst, peer.Name), '\r', '\n')
}

// appendUpgrade appends the fields that ask the upstream to switch protocols. webSocketKey may be empty.
func (h *Request) appendUpgrade(dst, webSocketKey []byte) []byte {
	dst = AppendField(dst, "Connection: Upgrade\r\nUpgrade: ", h.Upgrade)
	if len(webSocketKey) > 0 {
		dst = AppendField(dst, "Sec-WebSocket-Key: ", webSocketKey)
	}
	return dst
}

// xForwardedOnly reports whether a trusted peer named the client in X-Forwarded-* fields but sent no Forwarded. A new Forwarded field would then
// name that peer as the client.
func (h *Request) xForwardedOnly() bool {
	return !h.hasElements && (h.hasProto || len(h.forwarded) > 0)
}
