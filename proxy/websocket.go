package proxy

import (
	"errors"
	"fmt"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// This file translates between the two ways to ask for a WebSocket: GET with Upgrade, which a server accepts with 101 (RFC 6455), and
// extended CONNECT over HTTP/2, which it accepts with 200 (RFC 8441). Package http2 translates between a CONNECT and a GET, so to an
// exchange, every WebSocket is an upgrade. This file handles the rest: Sec-WebSocket-Key and Sec-WebSocket-Accept, which exist only
// in HTTP/1.1.

// connecting reports whether the client asks for the WebSocket with an extended CONNECT, and would therefore interpret any status
// 2xx as acceptance.
func (r *request) connecting() bool { return r.HTTP2 && r.IsWebSocket() }

// errNotUpgraded means that the upstream responded to a request for a WebSocket as if it were an ordinary one. For a CONNECT, any status
// 2xx would mean that the WebSocket is open.
var errNotUpgraded = errors.New("upstream responded to an extended CONNECT with a status 2xx and no WebSocket")

// webSocketKey returns the Sec-WebSocket-Key that the proxy generates for a client that has sent an extended CONNECT, and otherwise nil.
// It is the same each time the request is sent.
func (r *request) webSocketKey() []byte {
	if !r.connecting() {
		return nil
	}
	if len(r.keyText) == 0 {
		r.keyText = http1.AppendWebSocketKey(r.keyText)
	}
	return r.keyText
}

// translatable reports whether the request for a WebSocket can be sent as an extended CONNECT, in which case the proxy must
// generate the Sec-WebSocket-Accept.
func (r *request) translatable() bool {
	return r.IsWebSocket() && (r.HTTP2 || http1.ValidWebSocketKey(r.Value("sec-websocket-key")))
}

// withoutAccept removes Sec-WebSocket-Accept from a response.
var withoutAccept = func() *http1.Rules {
	rules, err := http1.FieldRules{Remove: []string{"Sec-WebSocket-Accept"}}.Compile()
	if err != nil {
		panic(err)
	}
	return rules
}()

// checkUpgrade checks the final response, whose header is in x.reply.buf, if the request or its response had to be translated.
func (x *exchange) checkUpgrade() error {
	if !x.upgrading || !x.req.HTTP2 && x.up.call == nil {
		return nil
	}
	switch h := &x.resp; {
	case h.Status == 101 && x.up.call == nil: // the response must prove that the server has processed the key (RFC 6455, section 4.1)
		accept := http1.AppendWebSocketAccept(nil, x.req.webSocketKey())
		if string(http1.FieldValue(x.reply.fields(), "sec-websocket-accept")) != string(accept) {
			return fmt.Errorf("%w: Sec-WebSocket-Accept", http1.ErrResponse)
		}
	case h.Status == 101:
	case h.Status < 300 && x.req.HTTP2:
		return errNotUpgraded
	default:
		return nil
	}
	x.reply.buf = withoutAccept.Apply(x.reply.buf)
	if !x.req.HTTP2 {
		x.reply.buf = append(x.reply.buf, "Sec-WebSocket-Accept: "...)
		x.reply.buf = append(http1.AppendWebSocketAccept(x.reply.buf, x.req.Value("sec-websocket-key")), crlf...)
	}
	return nil
}
