package http1

// This file recognizes the names of the fields that need special treatment.

// fieldID identifies a field that the proxy does not simply pass on.
type fieldID uint8

const (
	fieldOther    fieldID = iota
	fieldHopByHop         // always removed: Keep-Alive, Proxy-*
	fieldConnection
	fieldTransferEncoding
	fieldContentLength
	fieldHost
	fieldTE
	fieldUpgrade
	fieldTrailer // Trailer: passed on if trailers are passed on
	fieldExpect
	fieldMaxForwards
	fieldForwardedFor
	fieldForwardedProto // X-Forwarded-Proto, -Host, -Port: passed on only from trusted peers
	fieldForwarded
	fieldForwardedOther // the fields in forwarding.go: treated in the same way, but never written by the proxy
	fieldRequestID
	fieldTraceparent
	fieldContentType
	fieldDate
	fieldAuthorization
	fieldChallenge // WWW-Authenticate
	fieldImitation // the name of a forwarding or framing field, or of one that the proxy writes, with another separator instead of "-"
)

// classify finds the ID of a field by its name. For most fields, the length alone is enough.
func classify(name []byte) fieldID {
	if id := classifyShort(name); id != fieldOther {
		return id
	}
	return classifyForwarding(name)
}

func classifyShort(name []byte) fieldID {
	switch len(name) {
	case 2:
		return pick(name, "te", fieldTE)
	case 4:
		if foldEqual(name, "host") {
			return fieldHost
		}
		return pick(name, "date", fieldDate)
	case 6:
		return pick(name, "expect", fieldExpect)
	case 7:
		if foldEqual(name, "upgrade") {
			return fieldUpgrade
		}
		return pick(name, "trailer", fieldTrailer)
	case 9:
		return pick(name, "forwarded", fieldForwarded)
	case 10:
		if foldEqual(name, "connection") {
			return fieldConnection
		}
		return pick(name, "keep-alive", fieldHopByHop)
	case 11:
		return pick(name, "traceparent", fieldTraceparent)
	case 13:
		return pick(name, "authorization", fieldAuthorization)
	}
	return classifyLong(name)
}

func classifyLong(name []byte) fieldID {
	switch len(name) {
	case 12:
		if foldEqual(name, "content-type") {
			return fieldContentType
		}
		if foldEqual(name, "max-forwards") {
			return fieldMaxForwards
		}
		return pickOwn(name, "x-request-id", fieldRequestID)
	case 14:
		return pickOwn(name, "content-length", fieldContentLength)
	case 15:
		return pickOwn(name, "x-forwarded-for", fieldForwardedFor)
	case 16:
		if foldEqual(name, "proxy-connection") {
			return fieldHopByHop
		}
		if foldEqual(name, "www-authenticate") {
			return fieldChallenge
		}
		if foldEqual(name, "x-forwarded-host") {
			return fieldForwardedProto
		}
		if imitates(name, "x-forwarded-host") {
			return fieldImitation
		}
		return pickOwn(name, "x-forwarded-port", fieldForwardedProto)
	case 17:
		if foldEqual(name, "transfer-encoding") {
			return fieldTransferEncoding
		}
		if imitates(name, "transfer-encoding") {
			return fieldImitation
		}
		return pickOwn(name, "x-forwarded-proto", fieldForwardedProto)
	case 18:
		return pick(name, "proxy-authenticate", fieldHopByHop)
	case 19:
		return pick(name, "proxy-authorization", fieldHopByHop)
	}
	return fieldOther
}

func pick(name []byte, lower string, id fieldID) fieldID {
	if foldEqual(name, lower) {
		return id
	}
	return fieldOther
}

// pickOwn is like pick, but also detects imitations. It is used for the fields that only the proxy may set, and for those that frame a
// message.
func pickOwn(name []byte, lower string, id fieldID) fieldID {
	if imitates(name, lower) {
		return fieldImitation
	}
	return pick(name, lower, id)
}

// imitates reports whether a name differs from a known one only in its separators. CGI, WSGI and similar interfaces turn every separator
// into "_", so to a program, X_Forwarded_For or X.Real.IP would look as if the proxy had written them.
func imitates(name []byte, lower string) bool {
	alike, imitation := resembles(name, lower)
	return alike && imitation && len(name) == len(lower)
}

// resembles reports whether a name begins with lower if all separators count as equal, and whether any of its separators differs from that in
// lower. lower consists of lower-case letters, digits and '-'.
func resembles(name []byte, lower string) (alike, imitation bool) {
	if len(name) < len(lower) {
		return false, false
	}
	for i := range lower {
		switch c := name[i]; {
		case lower[i] == '-':
			if isAlphanumeric[c] {
				return false, false
			}
			imitation = imitation || c != '-'
		case c|0x20 != lower[i]:
			return false, false
		}
	}
	return true, imitation
}
