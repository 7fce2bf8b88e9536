// Package http1 parses and rewrites HTTP/1.1 messages without doing I/O: the caller passes the bytes that have arrived, and the package
// appends the bytes to send to the caller's buffer. It has no connections, no clock and no goroutines, so it works both on event loops
// and on goroutines, and tests can call it directly.
//
// [BlockEnd] finds the end of a header block, and [Request.Rewrite] or [Response.Rewrite] checks and rewrites the block in one pass. A
// [Body] separates data from framing as the bytes arrive. Nothing is ever repaired: a message whose end could be interpreted in two
// ways is an error.
package http1
