// Package http1 reads and rewrites HTTP/1.1 messages, without input or output: it is handed bytes that have arrived, and appends the
// bytes to send to a buffer of the caller. It has no connections, no clock and no goroutines, so that whoever drives a connection
// uses it alike, and tests speak to it directly.
//
// A header block is found with [BlockEnd], and checked and rewritten in one pass by [Request.Rewrite] or [Response.Rewrite]. A
// [Body] tells data from framing as the bytes arrive. Nothing is ever repaired: a message whose end could be understood in two ways
// is an error.
package http1
