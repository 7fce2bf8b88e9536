package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/route"
)

// request is the header of a request and everything that is derived from the header, the connection and the configuration: who sent it,
// its ID, its route, and the form of the proxy's own responses to it. It never changes once the route has been chosen. upload.go handles
// its body, and choose.go chooses its server. Slices that its methods return are valid until the next request.
type request struct {
	http1.Request
	c        *clientConn    // the connection on which it arrived
	route    *routeSettings // generation.standard if it has no route
	matching route.Scratch

	idText     []byte    // the generated ID
	idAt       time.Time // when the ID was generated; zero if it has not been
	hostText   []byte    // Host in lower case
	clientText []byte    // the address of a client behind a trusted peer
	keyText    []byte    // the Sec-WebSocket-Key that the proxy has generated
}

// begin prepares for a new request.
func (r *request) begin() {
	r.Reset()
	r.route, r.idAt = r.c.gen.standard, time.Time{}
	r.idText, r.keyText = r.idText[:0], r.keyText[:0]
}

// end releases large buffers. Nothing may use the contents of the request afterwards.
func (r *request) end() {
	r.matching.Release()
	release(&r.Request)
}

// id returns the request's ID: the one from a trusted peer if that is valid, otherwise a new one.
func (r *request) id() []byte {
	if len(r.RequestID) > 0 {
		return r.RequestID
	}
	if len(r.idText) == 0 {
		r.idAt = time.Now()
		r.idText = appendUUIDv7(r.idText, r.idAt)
	}
	return r.idText
}

// replayable reports whether the request may be sent twice: it must be idempotent and have no body.
func (r *request) replayable() bool {
	return !r.HasBody() && (r.Is("GET") || r.Is("HEAD") || r.Is("OPTIONS") || r.Is("TRACE"))
}

// isHead reports whether the request is a HEAD request. If the request line could not be parsed, isHead examines the raw bytes.
func (r *request) isHead() bool {
	return r.Is("HEAD") || bytes.HasPrefix(r.Raw, []byte("HEAD "))
}

// isGRPC reports whether the request is a call of gRPC over HTTP/2. gRPC-Web does not count, because it expects an HTTP status. A request
// for a WebSocket is never such a call, whatever its Content-Type.
func (r *request) isGRPC() bool {
	return r.HTTP2 && !r.connecting() && event.IsGRPCContent(r.ContentType) && !bytes.HasPrefix(r.ContentType, []byte("application/grpc-web"))
}

func (r *request) userAgent() []byte { return r.Value("user-agent") }

// client returns the client's address as it is recorded.
func (r *request) client() []byte {
	c := r.c
	addr := r.clientAddr()
	if addr == c.addr {
		return c.client
	}
	r.clientText = appendClient(r.clientText[:0], c.gen.o.ClientAddress, addr)
	return r.clientText
}

// clientAddr returns the client's address: the peer's or, if the peer is trusted, the one that the peer reports. The address is invalid
// if there is none.
func (r *request) clientAddr() netip.Addr {
	if !r.c.peer.Trusted {
		return r.c.addr
	}
	return r.Client(r.c.addr, r.c.gen.trusts)
}

// secure reports whether the client's connection is encrypted: its connection to this proxy, or to the trusted proxy in front of this one.
func (r *request) secure() bool {
	peer := &r.c.peer
	return bytes.HasPrefix(peer.Forwarded, []byte("X-Forwarded-Proto: https\r\n")) ||
		peer.Trusted && string(r.Value("x-forwarded-proto")) == "https"
}

// lowerHost returns the request's host in lower case. It makes a copy only if the host has upper-case letters.
func (r *request) lowerHost() []byte {
	host := r.Host
	for i, c := range host {
		if c >= 'A' && c <= 'Z' {
			r.hostText = append(r.hostText[:0], host...)
			for ; i < len(host); i++ {
				if c := host[i]; c >= 'A' && c <= 'Z' {
					r.hostText[i] = c + 32
				}
			}
			return r.hostText
		}
	}
	return host
}

// chooseRoute finds the route for the request. header is the request's header as it will be forwarded: it contains only those of the
// client's fields that the client is allowed to set. If there is no route, r.route remains unchanged.
func (r *request) chooseRoute(header []byte) error {
	routes := r.c.gen.routing
	q := route.Request{Method: r.Method, Host: r.Host, Path: r.Path, Fields: header[bytes.IndexByte(header, '\n')+1:]}
	if r.Upgradable() {
		q.Upgrade = r.Upgrade
	}
	index, err := routes.list.Match(&q, &r.matching)
	if err == nil && index != route.None {
		r.route = routes.routes[index]
	}
	return err
}

// stripped returns the length of the prefix that the route removes from the path.
func (r *request) stripped() int {
	if r.route.stripPrefix == "" {
		return 0
	}
	return route.CutPrefix(r.Path, r.route.stripPrefix)
}

// stripPrefix removes the route's prefix from the request line at the beginning of dst.
func (r *request) stripPrefix(dst []byte) []byte {
	n := r.stripped()
	if n == 0 {
		return dst
	}
	at := len(r.Method) + 1
	dst = slices.Delete(dst, at, at+n)
	if dst[at] != '/' { // the rest of the path is empty
		dst = slices.Insert(dst, at, '/')
	}
	return dst
}

// allowed reports whether the client may use the route.
func (r *request) allowed() bool {
	if len(r.route.allow) == 0 {
		return true
	}
	addr := r.clientAddr()
	return slices.ContainsFunc(r.route.allow, func(allowed netip.Prefix) bool { return allowed.Contains(addr) })
}

// appendOwn appends the beginning of the header of a response that the proxy itself generates and that is not a failure.
func (r *request) appendOwn(dst []byte, status int) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(append(dst, ' '), http.StatusText(status)...)
	dst = http1.AppendField(append(dst, '\r', '\n'), "Date: ", r.c.gen.date())
	return http1.AppendField(dst, "X-Request-ID: ", r.id())
}

// appendFailure appends the header of the response for a failure, without the final empty line.
func (r *request) appendFailure(dst []byte, status int, body string) []byte {
	dst = strconv.AppendInt(append(dst, "HTTP/1.1 "...), int64(status), 10)
	dst = append(append(dst, ' '), http.StatusText(status)...)
	dst = append(append(dst, "\r\nDate: "...), r.c.gen.date()...)
	dst = append(append(dst, "\r\nContent-Type: "...), r.errorType()...)
	dst = strconv.AppendInt(append(dst, "\r\nContent-Length: "...), int64(len(body)), 10)
	dst = append(dst, "\r\nCache-Control: no-store\r\n"...)
	return http1.AppendField(dst, "X-Request-ID: ", r.id())
}

// appendGRPCFailure appends the header of the response for a failure to a gRPC client.
func (r *request) appendGRPCFailure(dst []byte, f failure, detail string) []byte {
	dst = http1.AppendField(append(dst, "HTTP/1.1 200 OK\r\n"...), "Date: ", r.c.gen.date())
	dst = append(dst, "Content-Type: application/grpc\r\nGrpc-Status: "...)
	dst = strconv.AppendInt(dst, int64(f.grpcCode()), 10)
	dst = append(append(dst, "\r\nGrpc-Message: "...), detail...) // plain ASCII without "%"
	return http1.AppendField(append(dst, "\r\n"...), "X-Request-ID: ", r.id())
}

// errorPage returns the body of the response for a failure: JSON if the client accepts it, otherwise plain text.
func (r *request) errorPage(status int, detail string) string {
	title := http.StatusText(status)
	if r.wantsJSON() {
		return fmt.Sprintf("{\"status\":%d,\"error\":%s,\"detail\":%s,\"request_id\":%s}\n",
			status, strconv.Quote(title), strconv.Quote(detail), strconv.Quote(string(r.id())))
	}
	return fmt.Sprintf("%d %s\n\n%s\nRequest: %s\n", status, title, detail, r.id())
}

func (r *request) wantsJSON() bool { return bytes.Contains(r.Value("accept"), []byte("json")) }

func (r *request) errorType() string {
	if r.wantsJSON() {
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}
