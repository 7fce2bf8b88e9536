package http1

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 prescribes it; it protects nothing
	"encoding/base64"
)

// This file checks upgrades to other protocols (RFC 9110, section 7.8).

// Upgradable reports whether the request's Upgrade is passed on. That requires Connection: Upgrade, HTTP/1.1, and a request without a body.
// Otherwise the request is forwarded without Upgrade, which is correct, because a server may ignore that field.
func (h *Request) Upgradable() bool {
	return h.options.upgrade && !h.HTTP10 && !h.HasBody() && opaqueProtocols(h.Upgrade)
}

// opaqueProtocols accepts a list of protocols if none of them is a form of HTTP. For example, after an upgrade to h2c, which RFC 9113 has
// removed, requests would be forwarded without being checked or recorded.
func opaqueProtocols(list []byte) bool {
	if len(list) == 0 {
		return false
	}
	for len(list) > 0 {
		var protocol []byte
		protocol, list, _ = bytes.Cut(list, []byte{','})
		name, version, versioned := bytes.Cut(trimOWS(protocol), []byte{'/'})
		if len(name) == 0 || tokenLength(name) != len(name) || versioned && (len(version) == 0 || tokenLength(version) != len(version)) {
			return false
		}
		if foldEqual(name, "h2c") || foldEqual(name, "h2") || foldEqual(name, "http") || foldEqual(name, "tls") {
			return false
		}
	}
	return true
}

// Offered reports whether the client offered all protocols to which the upstream switches.
func (h *Request) Offered(chosen []byte) bool {
	if len(chosen) == 0 {
		return false
	}
	for len(chosen) > 0 {
		var protocol []byte
		protocol, chosen, _ = bytes.Cut(chosen, []byte{','})
		found := false
		for list := h.Upgrade; len(list) > 0 && !found; {
			var offer []byte
			offer, list, _ = bytes.Cut(list, []byte{','})
			found = bytes.EqualFold(trimOWS(offer), trimOWS(protocol))
		}
		if !found {
			return false
		}
	}
	return true
}

// IsWebSocket reports whether the request asks for a WebSocket (RFC 6455, section 4.1) in a form that can be translated to an extended
// CONNECT of HTTP/2. The rest is up to the server.
func (h *Request) IsWebSocket() bool {
	return h.Is("GET") && foldEqual(h.Upgrade, "websocket") && h.Upgradable()
}

// webSocketKeyBytes is the number of random bytes in a Sec-WebSocket-Key.
const webSocketKeyBytes = 16

// AppendWebSocketKey appends a new value for Sec-WebSocket-Key.
func AppendWebSocketKey(dst []byte) []byte {
	var b [webSocketKeyBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.AppendEncode(dst, b[:])
}

// ValidWebSocketKey reports whether a value of Sec-WebSocket-Key has the required form.
func ValidWebSocketKey(key []byte) bool {
	var b [3 * webSocketKeyBytes]byte
	if base64.StdEncoding.DecodedLen(len(key)) > len(b) {
		return false
	}
	n, err := base64.StdEncoding.Decode(b[:], key)
	return err == nil && n == webSocketKeyBytes
}

// AppendWebSocketAccept appends the value of Sec-WebSocket-Accept that belongs to a key. It proves that the server has read the request as
// a request for a WebSocket.
func AppendWebSocketAccept(dst, key []byte) []byte {
	h := sha1.New() //nolint:gosec // see above
	_, _ = h.Write(key)
	_, _ = h.Write([]byte("258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.AppendEncode(dst, h.Sum(nil))
}
