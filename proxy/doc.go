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
// Each response, wayside's own answers included, is recorded exactly once, and before the client can have all of it: a
// response that is read whole before it is written, a streamed one before the bytes that end it are, a refused request before
// its answer. A response whose client left before the last byte was handed on is recorded with status 499. The event's byte
// slices point into buffers of the connection: a Recorder encodes it during the call.
//
// # How a request flows
//
// A goroutine serves a client connection ([clientConn.serve]): it reads a header block, and the [exchange] of the connection
// does the rest. The block is checked and rewritten in one pass (fields.go, request.go, target.go), sent over a pooled
// connection (pool.go) with a small body behind it, or a large one streamed beside it (upload.go). The response's header is
// treated alike (response.go); its body is either read whole (up to 64 KiB of declared length) or relayed as it comes
// (relay.go). Bodies have one strict reader for both directions (body.go). What the proxy answers by itself stands in
// failure.go. An upgrade goes over a connection of its own and becomes a byte tunnel (tunnel.go).
//
// The options can be exchanged while connections are open (lane.go); a shutdown breaks no request that is on its way
// (drain.go); a client that leaves while the upstream works is noticed by the sweeper (watch.go).
//
// Deadlines cost one atomic exchange instead of a timer (deadline.go). All state of a request lives in the connection's
// exchange, so a plain request allocates nothing and takes four system calls.
package proxy
