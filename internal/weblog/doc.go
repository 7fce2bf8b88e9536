// Package weblog reads access logs of other servers: nginx's combined format, logs of nginx in JSON, and logs of Caddy. A [File] returns
// the lines of a file, which may be compressed with gzip, and a [Parser] turns each line into an event.
//
// # Bounds
//
// A line has at most [LineBytesMax] bytes; a longer line is skipped and reported. Only one line at a time is kept in memory.
//
// Addresses, user names, referrers, user agents, header fields and query strings are skipped and never kept.
package weblog
