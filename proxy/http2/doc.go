// Package http2 has both sides of HTTP/2 connections (RFC 9113), without input or output: it is handed bytes that have arrived,
// reports what they mean, and collects the frames to send. It has no connections, no clock and no goroutines. What waits, and how, is
// decided by its caller, so tests speak to it directly, as they do to package http1.
//
// A [Conn] takes bytes with [Conn.Next], which reports one [Event] at a time. A request is reported as the header block that the same
// request has in HTTP/1.1 ([Stream.Head]), so the rules of package http1 apply to it: what is refused, removed and rewritten is decided
// there, once. This package checks what only HTTP/2 can get wrong. A response is written as an HTTP/1.1 header block too ([Conn.WriteHead]).
// The client's side is the mirror image: [Conn.WriteRequest] takes the header block of a request, and a response is reported as one.
//
// # What is bounded
//
// A Conn keeps no data of bodies. The peer may send as many bytes as the windows in [Limits] allow; the caller holds them, and returns
// the room with [Conn.Consumed]. A stream counts against Limits.Streams until the caller has released it ([Conn.Release]), whoever has
// reset it: a peer that makes the server reset a stream gains nothing by it. Field blocks are limited by their size before and after
// decompression, and by the number of frames; [Conn.Held] says how much of an unfinished one there is. All that costs the peer little and the server something (resets, PING, SETTINGS, empty
// frames) draws on budgets that refill with time, and with the work that the connection does. Whoever spends more than that loses
// the connection, with the error code ENHANCE_YOUR_CALM.
//
// # Output
//
// Frames are collected in one buffer, in the order in which they must be sent, until [Conn.TakeOutput]. Fields of responses are encoded
// with the static table only (RFC 7541, appendix A). This costs the peer nothing, and a connection no memory.
//
// A Conn is for one goroutine at a time.
package http2
