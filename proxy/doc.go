// Package proxy is a reverse proxy in front of groups of servers. It speaks HTTP/1.1 and HTTP/2 to clients and to servers. It
// reports one event per response to a [Recorder].
//
// # Promises
//
// The client and the upstream see each other's messages: path and query byte for byte, field names and values as they were sent, bodies
// in their original framing. The proxy only removes hop-by-hop fields and writes the forwarding fields (see http1/request.go). It refuses
// a message whose end could be interpreted in two ways. It connects to the configured servers and to nothing else. It sends a request a
// second time only if no byte of it has been sent before, if the server has announced that it has not processed the request, or if the
// request is idempotent, has no body, and no byte of a response has arrived. Memory per connection is bounded, no matter how large a body
// is.
//
// # One event per response (record.go)
//
// Each response, including those that wayside itself generates, is recorded exactly once, and before the client can have received all of
// it. A buffered response is recorded before it is written, a streamed one before its last bytes are written, and a refusal before it is
// sent. If the client disconnected before the last byte was written, or stopped reading, the recorded status is 499. The event's byte
// slices point into buffers of the connection: a Recorder must encode the event during the call.
//
// # How a request flows
//
// A driver runs the code that serves a client connection ([clientConn.serve]): normally as a task of an event loop, otherwise as a
// goroutine (driver.go). The code is the same in both cases. It reads a header block, and an [exchange] does the rest; each of the
// exchange's parts, such as [request], [upload] and [reply], has its own file. The block is checked and rewritten in one pass
// ([http1.Request]), and the request's route is chosen (request.go, routing.go). Then a server in the route's group is chosen (group.go,
// choose.go), and the request is sent to it over a pooled connection (forward.go, pool.go). A small body is sent in the same write; a large
// one is streamed (upload.go, silent.go, continue.go). The response's header is checked and rewritten in the same way (response.go). Its
// body is either read completely (up to 64 KiB of declared length) or relayed piece by piece (relay.go, reply.go). Requests and responses
// use the same strict body reader ([http1.Body], body.go). The proxy's own responses are in failure.go and routing.go. An upgrade gets its
// own upstream connection and becomes a byte tunnel (tunnel.go); if either side speaks HTTP/2, websocket.go translates. After its last
// response, a connection remains open until the client has acknowledged that response (linger.go).
//
// A connection that begins with the HTTP/2 preface continues in h2conn.go. Each of its streams has its own clientConn and exchange. To
// them, the stream is a connection that carries a single HTTP/1.1 request (h2stream.go, h2write.go). A request to a server that speaks
// HTTP/2 is a call (h2call.go) on a shared connection (h2link.go, h2links.go).
//
// Options can be replaced while connections are open (generation.go). A shutdown does not break requests that have already been sent
// (drain.go). The sweeper detects clients that disconnect while the upstream is working (watch.go).
//
// # What must not block
//
// Everything that [clientConn.serve] calls, including the [Recorder], runs on an event loop, and a loop serves many connections. Such code may
// wait in only three ways: in Read and Write of a connection, in Wait of a signal, and in driver.block. Functions that a loop calls outside of
// a task must not wait at all: these are acceptor.take, everything that it calls, and clientConn.park. The sweeper, and serveWaiting in
// waiting.go, run on their own goroutines.
//
// # Costs
//
// Arming a deadline costs one atomic swap instead of a timer (deadline.go). The whole state of a request is in an exchange, which is
// reused, so a plain request allocates nothing and takes four system calls.
package proxy
