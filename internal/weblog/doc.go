// Package weblog reads access logs of other servers: nginx's combined format, logs of nginx in JSON, and those of Caddy. A [File] gives the
// lines of a file, compressed by gzip or not, and a [Parser] makes an event of each.
//
// # Bounds
//
// A line has at most [LineBytesMax] bytes; a longer one is passed over and reported. Nothing else is kept in memory.
//
// Addresses, user names, referrers, user agents, header fields and query strings are read past and never kept.
package weblog
