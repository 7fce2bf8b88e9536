// Package load is an HTTP/1.1 client that sends a counted number of requests and says exactly what became of each.
//
// Load generators made for speed drop what is in flight when they stop, so that a server counts more than they do. This one
// is for checking books: every request carries a nonce, a number that it alone uses, and ends in one of three states.
//
//   - Not sent: no byte of it was handed to the kernel. Such a nonce is sent later, on another connection.
//   - Sent: at least one byte was handed to the kernel. The server may or may not have seen it. It is never sent again.
//   - Received: its response arrived with its last byte, as the framing (Content-Length, chunks, or the end of the
//     connection) defines it. A received response is completed when [Options.Verify] accepts it.
//
// A server that keeps its promise has each received nonce in its books, none that was not sent, and none twice:
//
//	received ⊆ booked ⊆ sent
//
// [Options.Sent] and [Options.Received] collect the two outer sets as bitmaps, and [Bitmap.Missing] names the differences.
//
// [Run] opens a fixed number of keep-alive connections, each driven by one goroutine with one request at a time. It
// reconnects after an error with a backoff of a few milliseconds, so that a server may be killed and restarted under load.
// It never pipelines and follows no redirects. When it stops early it finishes the requests under way.
package load
