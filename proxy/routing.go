package proxy

import (
	"bytes"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/route"
)

// Choosing the route of a request, and the routes that need no service.

// chooseRoute finds the route of the request. header is its header as it will be forwarded, so that fields count which the client may set.
// If there is none, x.route stays as it is.
func (x *exchange) chooseRoute(header []byte) error {
	r, h := x.c.gen.routing, &x.head
	request := route.Request{Method: h.Method, Host: h.Host, Path: h.Path, Fields: header[bytes.IndexByte(header, '\n')+1:]}
	if h.Upgradable() {
		request.Upgrade = h.Upgrade
	}
	index, err := r.list.Match(&request, &x.matching)
	if err == nil && index != route.None {
		x.route = r.routes[index]
	}
	return err
}

// stripped returns the length of the beginning of the path that the route removes.
func (x *exchange) stripped() int {
	if x.route.stripPrefix == "" {
		return 0
	}
	return route.CutPrefix(x.head.Path, x.route.stripPrefix)
}

// stripPrefix removes the route's prefix from the request line at the beginning of dst.
func (x *exchange) stripPrefix(dst []byte) []byte {
	n := x.stripped()
	if n == 0 {
		return dst
	}
	at := len(x.head.Method) + 1
	dst = slices.Delete(dst, at, at+n)
	if dst[at] != '/' { // nothing of the path is left
		dst = slices.Insert(dst, at, '/')
	}
	return dst
}

// admitToRoute applies what the route demands of the client, and makes the responses that need no service. If it reports true, the response has been
// sent. Otherwise x.group is the group that serves the request.
func (x *exchange) admitToRoute() (answered bool) {
	r := x.route
	f := failNone
	switch {
	case r == x.c.gen.standard:
		f = failNoRoute
	case !x.allowed():
		f = failNotAllowed
	case r.users != nil:
		f = x.authenticate()
	}
	switch {
	case f != failNone:
		x.skipBody()
		x.answer(f)
	case r.redirect != nil:
		x.skipBody()
		x.redirectClient()
	case r.respond != nil:
		x.skipBody()
		x.sendOwn(r.respond)
	default:
		x.group = r.group()
		return false
	}
	return true
}

// allowed reports whether the client may use the route.
func (x *exchange) allowed() bool {
	if len(x.route.allow) == 0 {
		return true
	}
	addr := x.clientAddr()
	return slices.ContainsFunc(x.route.allow, func(allowed netip.Prefix) bool { return allowed.Contains(addr) })
}

// skipBody is called before a response that does not depend on the body. If the body has arrived, the connection can be used again.
func (x *exchange) skipBody() {
	h := &x.head
	switch {
	case !h.HasBody():
	case !h.Chunked && h.Length <= int64(x.c.br.Buffered()):
		_, _ = x.c.br.Discard(int(h.Length))
		x.ev.RequestBytes = uint64(h.Length)
	default:
		x.unread = true
	}
}

// ownResponse is a response that follows from the configuration.
type ownResponse struct {
	status      int
	contentType string // empty: none
	body        []byte
}

// sendOwn sends a response of the proxy's own that is no failure.
func (x *exchange) sendOwn(r *ownResponse) {
	x.beginOwn(r.status)
	if r.status != http.StatusNoContent && r.status != http.StatusNotModified {
		if r.contentType != "" {
			x.in = append(append(append(x.in, "Content-Type: "...), r.contentType...), '\r', '\n')
		}
		x.in = append(x.in, "Content-Length: "...)
		x.in = append(strconv.AppendInt(x.in, int64(len(r.body)), 10), '\r', '\n')
	}
	x.endOwn(r.status, failNone, r.body)
}

func (x *exchange) redirectClient() {
	x.beginOwn(redirectStatus)
	x.in = append(x.in, "Location: "...)
	x.in = x.route.redirect.appendLocation(x.in, x.head.Target, x.stripped())
	x.in = append(x.in, "\r\nContent-Length: 0\r\n"...)
	x.endOwn(redirectStatus, failNone, nil)
}

// beginOwn begins the header of a response of the proxy's own.
func (x *exchange) beginOwn(status int) {
	x.in = append(x.in[:0], "HTTP/1.1 "...)
	x.in = strconv.AppendInt(x.in, int64(status), 10)
	x.in = append(x.in, ' ')
	x.in = append(x.in, http.StatusText(status)...)
	x.in = http1.AppendField(append(x.in, '\r', '\n'), "Date: ", x.c.gen.date())
	x.in = http1.AppendField(x.in, "X-Request-ID: ", x.id())
}

// endOwn completes the header, records the response and sends it. The response to HEAD, and some statuses, have no body.
func (x *exchange) endOwn(status int, f failure, body []byte) {
	if f.retryLater() {
		x.in = append(x.in, "Retry-After: 1\r\n"...)
	}
	x.in = x.route.responseRules.Apply(x.in)
	x.endHead()
	x.ev.Status = uint16(status)
	if f == failClientClosed {
		x.ev.Status = statusClientClosed
	}
	x.ev.ResponseBytes, x.ev.RequestID = 0, x.id()
	if status == http.StatusNoContent || status == http.StatusNotModified || x.isHead() {
		body = nil
	}
	if f != failClientClosed { // which receives none of it
		x.ev.ResponseBytes = uint64(len(body))
	}
	x.record(f)
	if len(x.in)+len(body) <= scratchBytesKept {
		x.in = append(x.in, body...)
		body = nil
	}
	if x.write(x.in) && len(body) > 0 {
		x.write(body)
	}
}
