// Package proxy is a reverse proxy in front of groups of servers, for HTTP/1.1 and, from clients, HTTP/2. It reports one event per
// response to a [Recorder].
//
// # Promises
//
// The client and the upstream see each other's messages: path and query byte for byte, field names and values as sent,
// bodies in the framing they came in. The proxy only removes hop-by-hop fields and writes the forwarding fields (see
// http1/request.go). It refuses a message whose end could be understood in two ways. It dials the configured servers and nothing
// else. It sends a request twice only if no byte of it was sent before, or if no byte of a response has come and the request is idempotent
// and has no body. Memory per connection is bounded, whatever the size of a body.
//
// # One event per response (record.go)
//
// Each response, wayside's own answers included, is recorded exactly once, and before the client can have all of it. A
// buffered response is recorded before it is written, a streamed one before the bytes that end it are written, and a refused
// request before its answer. If the client left before the last byte was written, or did not read on, the status is 499. The
// event's byte slices point into buffers of the connection: a Recorder must encode it during the call.
//
// # How a request flows
//
// A driver runs the code that serves a client connection ([clientConn.serve]): as a task of an event loop, which is the rule, or as
// a goroutine (driver.go). The code is the same. It reads a header block, and an [exchange] does the rest; its parts, such as [request],
// [upload] and [reply], each have a file. The block is checked and rewritten in one pass ([http1.Request]), and its route is chosen
// (request.go, routing.go). A server of a group is chosen (group.go, choose.go), and the request is sent over a pooled connection
// (forward.go, pool.go). A small body follows in the same write; a large one is streamed (upload.go, silent.go, continue.go). The
// response's header is treated in the same way (response.go). Its body is either read whole (up to 64 KiB of declared length) or relayed
// piece by piece (relay.go, reply.go). Both directions use the same strict body reader ([http1.Body], body.go). The proxy's own responses
// are in failure.go and routing.go. An upgrade uses an upstream connection of its own and becomes a byte tunnel (tunnel.go). After its last
// response, a connection stays open until the client has acknowledged it (linger.go).
//
// A connection whose first line is the preface of HTTP/2 continues in h2conn.go. Each of its streams has a clientConn and an exchange of
// its own: to them it is a connection that carries one request in the form of HTTP/1.1 (h2stream.go, h2write.go).
//
// Options can be replaced while connections are open (generation.go). A shutdown breaks no request that has been sent
// (drain.go). The sweeper notices clients that leave while the upstream works (watch.go).
//
// # What must not block
//
// Everything that [clientConn.serve] reaches runs on an event loop, the [Recorder] included, and a loop serves many connections. Such
// code may wait in three ways only: in Read and Write of a connection, in Wait of a signal, and in driver.block. Functions that a loop
// calls without a task must not wait at all: these are acceptor.take with all that it calls, and clientConn.park. The sweeper, and
// serveWaiting in waiting.go, are goroutines.
//
// # Costs
//
// Arming a deadline costs one atomic exchange instead of a timer (deadline.go). All state of a request is in an
// exchange that is reused, so a plain request allocates nothing and takes four system calls.
package proxy
