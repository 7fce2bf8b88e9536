// Package proxy carries the traffic: an HTTP/1.1 intermediary in front of one upstream, which hands one event per response
// to a [Recorder].
//
// # Promises
//
// The client and the upstream see each other's messages: path and query byte for byte, field names and values as sent,
// bodies in the framing they came in. Only hop-by-hop fields are removed and the forwarding fields are written (see
// request.go). A message whose end could be understood in two ways is refused, never forwarded. Only the configured
// upstream is ever dialled. A request is sent twice only when a reused connection died before the first byte of the
// response, and only if it is idempotent and has no body. Memory per connection is bounded whatever the size of a body.
//
// # One event per response
//
// Each response, wayside's own answers included, is recorded exactly once, and before the client can have all of it:
//
//   - buffered and bodiless responses in the handler, before it returns to the server that writes them;
//   - streamed responses in the body reader, before the bytes that end them are handed on;
//   - requests refused by the parser, in the server's error handler.
//
// A response whose client left before the last byte was handed on is recorded with status 499 when its body is closed
// unread. The event's byte slices point into buffers of the connection: a Recorder encodes it during the call.
//
// # How a request flows
//
// valyala/fasthttp serves the client side. Its connections are wrapped ([clientConn]) so that deadlines cost one atomic
// exchange instead of a timer (deadline.go). The upstream side is our own (pool.go, response.go): the header block is
// copied through in one pass (fields.go, request.go) rather than taken apart and put together again, and a response is
// either read whole (up to 64 KiB of declared length) or relayed as it comes (stream.go). All state of a request lives in
// the [exchange] of its client connection, so a plain request allocates nothing here.
package proxy
