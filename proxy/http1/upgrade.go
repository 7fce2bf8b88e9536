package http1

import "bytes"

// Upgrades to other protocols (RFC 9110, section 7.8).

// Upgradable reports whether the request's Upgrade is passed on: it needs Connection: Upgrade, HTTP/1.1, and no body. Otherwise the
// request is forwarded without Upgrade, which is correct, because a server may ignore it.
func (h *Request) Upgradable() bool {
	return h.options.upgrade && !h.HTTP10 && !h.HasBody() && opaqueProtocols(h.Upgrade)
}

// opaqueProtocols accepts a list of protocols if none of them is another form of HTTP. After an upgrade to h2c (which RFC 9113 has
// removed), for example, requests would be forwarded without being checked or recorded.
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

// Offered reports whether the client offered every protocol that the upstream switches to.
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
