// Package load is an HTTP/1.1 client that sends a counted number of requests and reports the exact outcome of each.
//
// Most load generators drop the requests in flight when they stop, so the server counts more requests than they do. This one was made to
// check the figures of a server: every request carries a nonce, a unique number, and ends in one of three states.
//
//   - Not sent: the kernel has not accepted a single byte of the request. It is sent later, on another connection.
//   - Sent: the kernel has accepted at least one byte. The server may or may not have received the request. It is never sent again.
//   - Received: the response has arrived completely, as defined by its framing (Content-Length, chunks, or the end of the connection). A
//     received request counts as completed if [Options.Verify] accepts the response.
//
// A correct server has recorded each received nonce, no nonce that was not sent, and no nonce twice:
//
//	received ⊆ booked ⊆ sent
//
// [Options.Sent] and [Options.Received] collect the two outer sets as bitmaps, and [Bitmap.Missing] returns the differences.
//
// [Run] opens a fixed number of keep-alive connections. Each has one goroutine and one request at a time. After an error, a connection is
// opened again with a backoff of a few milliseconds, so a server can be killed and restarted under load. Run never pipelines requests or
// follows redirects. If it stops early, it completes the requests in flight.
package load
