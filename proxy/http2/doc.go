// Package http2 implements both sides of HTTP/2 connections (RFC 9113) without doing I/O: the caller passes the bytes that have arrived,
// and the package reports what they mean and collects the frames to send. It has no connections, no clock and no goroutines. The caller
// decides how to wait for bytes, so tests can call the package directly, like package http1.
//
// [Conn.Next] consumes bytes and reports one [Event] at a time. A request is reported as the header block that the same request would have
// in HTTP/1.1 ([Stream.Head]), so that package http1 alone decides what is refused, removed and rewritten. This package checks only what is
// specific to HTTP/2. Responses are also written from HTTP/1.1 header blocks ([Conn.WriteHead]). An extended CONNECT that asks for a
// WebSocket (RFC 8441) is reported as a GET with Upgrade, and 101 accepts it ([Stream.Upgrade]). The client side is the mirror image:
// [Conn.WriteRequest] takes the header block of a request, and responses are reported as header blocks.
//
// # What is bounded
//
// A Conn does not buffer data of bodies. The peer may send as many bytes as the windows in [Limits] allow; the caller buffers them, and
// reopens the windows with [Conn.Consumed]. A stream counts towards Limits.Streams until the caller has released it ([Conn.Release]), no
// matter which side has reset it: a peer gains nothing by making the server reset a stream. Field blocks are limited by their size before
// and after decompression, and by their number of frames; [Conn.Held] returns the size of an unfinished one. Some frames cost the peer
// little but the server more: resets, PING, SETTINGS, empty frames. They draw on budgets that refill with time and with the useful work on
// the connection. A peer that exceeds them loses the connection, with the error code ENHANCE_YOUR_CALM.
//
// # Output
//
// Frames are collected in one buffer, in the order in which they must be sent, until [Conn.TakeOutput] is called. The fields of responses
// are encoded with only the static table (RFC 7541, appendix A), so that compression needs no memory per connection.
//
// # Parts
//
// A Conn consists of a frameReader (the bytes of the peer's frames), a blockReader (field blocks and the state of HPACK), streams (which
// exist, what is allowed on them, and flow control), a lifecycle (SETTINGS, PING, GOAWAY), budgets, and an output. Conn passes each frame
// to the part that handles it; the part returns an error if the connection must end.
//
// A Conn must not be used by several goroutines at the same time.
package http2
