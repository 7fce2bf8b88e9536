package http1

import "bytes"

// connectionOptions are the options in the Connection fields of a message.
type connectionOptions struct {
	close     bool
	keepAlive bool
	upgrade   bool
	names     [][]byte // names of further hop-by-hop fields; they point into the header block
}

// connectionNamesMax limits how many fields a message's Connection fields may name, because each name is compared with every field.
const connectionNamesMax = 64

// parse adds the options in one Connection value. It ignores names of fields that are meant for every recipient (RFC 9110, section 7.6.1), so
// that these are not removed: fields that frame, route, authenticate or describe the message, or that the proxy writes.
func (o *connectionOptions) parse(value []byte) error {
	for len(value) > 0 {
		var token []byte
		token, value, _ = bytes.Cut(value, []byte{','})
		token = trimOWS(token)
		switch {
		case len(token) == 0:
		case foldEqual(token, "close"):
			o.close = true
		case foldEqual(token, "keep-alive"):
			o.keepAlive = true
		case foldEqual(token, "upgrade"):
			o.upgrade = true
		default:
			if !endToEnd(token) {
				o.names = append(o.names, token)
			}
		}
	}
	if len(o.names) > connectionNamesMax {
		return ErrSyntax
	}
	return nil
}

// endToEnd reports whether a field is meant for every recipient, so that Connection must not name it. These are the fields that must not
// be trailers, except those that begin with "proxy-" or "http2-", and all fields that begin with "content-".
func endToEnd(name []byte) bool {
	if hasPrefixFold(name, "content-") {
		return true
	}
	return trailerRule(name) != trailerPassed && !hasPrefixFold(name, "proxy-") && !hasPrefixFold(name, "http2-")
}

// named reports whether a Connection field lists the given name.
func (o *connectionOptions) named(name []byte) bool {
	for _, n := range o.names {
		if bytes.EqualFold(n, name) {
			return true
		}
	}
	return false
}
