package proxy

import (
	"bytes"
	"net/http"
	"strconv"
)

// This file serves the listener of ServeRedirect: it redirects clients to the same URL with https, and responds to ACME validations with
// HTTP-01 (RFC 8555, section 8.3).

const challengePath = "/.well-known/acme-challenge/"

// redirectToTLS responds to a request on the listener of ServeRedirect. With status 308, the client repeats the request with the same method and body.
func (x *exchange) redirectToTLS() {
	x.upload.unread = x.upload.unread || x.req.HasBody()
	o := x.c.gen.o.TLS
	if token, ok := bytes.CutPrefix(x.req.Path, []byte(challengePath)); ok && o != nil && o.HTTPChallenge != nil {
		if response, ok := o.HTTPChallenge(string(token)); ok {
			x.sendOwn(&ownResponse{status: http.StatusOK, contentType: "text/plain; charset=utf-8", body: []byte(response)})
			return
		}
	}
	if len(x.req.Host) == 0 || x.req.Target[0] != '/' || o == nil {
		x.answer(failBadRequest)
		return
	}
	x.reply.buf = x.req.appendOwn(x.reply.buf[:0], http.StatusPermanentRedirect)
	x.reply.buf = append(append(x.reply.buf, "Location: https://"...), hostOnly(x.req.Host)...)
	if o.Port != 443 && o.Port != 0 {
		x.reply.buf = strconv.AppendInt(append(x.reply.buf, ':'), int64(o.Port), 10)
	}
	x.reply.buf = append(append(x.reply.buf, x.req.Target...), "\r\nContent-Length: 0\r\n"...)
	x.endOwn(http.StatusPermanentRedirect, failNone, nil)
}

// hostOnly returns the host of a valid Host field, without its port.
func hostOnly(host []byte) []byte {
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
		return host[:i]
	}
	return host
}

// hasField reports whether a header block, which begins with the start line, has a field with this name. lower must be in lower case.
func hasField(block []byte, lower string) bool {
	for {
		i := bytes.IndexByte(block, '\n')
		if i < 0 {
			return false
		}
		block = block[i+1:]
		if len(block) > len(lower) && block[len(lower)] == ':' && bytes.EqualFold(block[:len(lower)], []byte(lower)) {
			return true
		}
	}
}
