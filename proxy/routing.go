package proxy

import (
	"net/http"
	"strconv"
)

// This file applies the route that has been chosen for a request: it checks the route's requirements, and generates the responses that
// do not come from the service.

// admitToRoute checks the route's requirements, and generates the responses that do not come from the service. If it returns true, the
// response has been sent. Otherwise x.to.group is the group that serves the request.
func (x *exchange) admitToRoute() (answered bool) {
	r := x.req.route
	f := failNone
	switch {
	case r == x.c.gen.standard:
		f = failNoRoute
	case !x.req.allowed():
		f = failNotAllowed
	case r.users != nil:
		f = x.req.authenticate()
	}
	switch {
	case f != failNone:
		x.upload.skip()
		x.answer(f)
	case r.redirect != nil:
		x.upload.skip()
		x.redirectClient()
	case r.respond != nil:
		x.upload.skip()
		x.sendOwn(r.respond)
	default:
		x.to.group = r.group()
		return false
	}
	return true
}

// ownResponse is a response that is defined by the configuration.
type ownResponse struct {
	status      int
	contentType string // empty if there is none
	body        []byte
}

// sendOwn sends a response that the proxy itself generates and that is not a failure. A client that asks for a WebSocket with an
// extended CONNECT would interpret a status 2xx as acceptance, so it gets an error instead.
func (x *exchange) sendOwn(r *ownResponse) {
	if r.status < 300 && x.req.connecting() {
		x.answer(failNotUpgraded)
		return
	}
	x.reply.buf = x.req.appendOwn(x.reply.buf[:0], r.status)
	if r.status != http.StatusNoContent && r.status != http.StatusNotModified {
		if r.contentType != "" {
			x.reply.buf = append(append(append(x.reply.buf, "Content-Type: "...), r.contentType...), '\r', '\n')
		}
		x.reply.buf = append(x.reply.buf, "Content-Length: "...)
		x.reply.buf = append(strconv.AppendInt(x.reply.buf, int64(len(r.body)), 10), '\r', '\n')
	}
	x.endOwn(r.status, failNone, r.body)
}

func (x *exchange) redirectClient() {
	x.reply.buf = x.req.appendOwn(x.reply.buf[:0], redirectStatus)
	x.reply.buf = append(x.reply.buf, "Location: "...)
	x.reply.buf = x.req.route.redirect.appendLocation(x.reply.buf, x.req.Target, x.req.stripped())
	x.reply.buf = append(x.reply.buf, "\r\nContent-Length: 0\r\n"...)
	x.endOwn(redirectStatus, failNone, nil)
}

// endOwn completes the header, records the response and sends it. Responses to HEAD, and responses with some statuses, have no body.
func (x *exchange) endOwn(status int, f failure, body []byte) {
	if f.retryLater() {
		x.reply.buf = append(x.reply.buf, "Retry-After: 1\r\n"...)
	}
	x.reply.buf = x.req.route.responseRules.Apply(x.reply.buf)
	x.endHead()
	x.ev.Status = uint16(status)
	if f == failClientClosed {
		x.ev.Status = statusClientClosed
	}
	x.ev.ResponseBytes, x.ev.RequestID = 0, x.req.id()
	if status == http.StatusNoContent || status == http.StatusNotModified || x.req.isHead() {
		body = nil
	}
	if f != failClientClosed { // a client that has disconnected receives nothing
		x.ev.ResponseBytes = uint64(len(body))
	}
	x.record(f)
	if len(x.reply.buf)+len(body) <= scratchBytesKept {
		x.reply.buf = append(x.reply.buf, body...)
		body = nil
	}
	if x.reply.write(x.reply.buf) && len(body) > 0 {
		x.reply.write(body)
	}
}
