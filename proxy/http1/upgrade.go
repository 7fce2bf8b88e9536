package http1

import "bytes"

// This file checks upgrades to other protocols (RFC 9110, section 7.8).

// Upgradable reports whether the request's Upgrade is passed on. That requires Connection: Upgrade, HTTP/1.1, and a request without a body.
// Otherwise the request is forwarded without Upgrade, which is correct, because a server may ignore that field.
func (h *Request) Upgradable() bool {
	return h.options.upgrade && !h.HTTP10 && !h.HasBody() && opaqueProtocols(h.Upgrade)
}

// opaqueProtocols accepts a list of protocols if none of them is a form of HTTP. After an upgrade to h2c, for example (which RFC 9113 has
// removed), requests would be forwarded without being checked or recorded.
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
