package http2

import "bytes"

// This file contains the methods that only the client side of a connection has. The client side accepts a request as an HTTP/1.1
// header block, and reports a response as such a block.

// NewClient returns the client side of a connection. The output of the Conn begins with the preface. The Conn ignores Limits.Streams and
// Limits.Resets.
// Limits.HeaderBytes and Limits.TrailerBytes apply to responses.
func NewClient(limits Limits) *Conn {
	c := newConn(limits, true)
	c.in.state = stateHeader // a server has no preface but its SETTINGS
	c.life.streamsMax, c.life.peerLast = streamIDMax, streamIDMax
	c.out.frames = append(c.out.frames, Preface...)
	c.life.begin(appendSetting(nil, settingEnablePush, 0), &c.limits)
	return c
}

// Settled reports whether the server's SETTINGS have arrived, so that StreamsMax is known.
func (c *Conn) Settled() bool { return c.life.settled }

// StreamsMax returns how many streams the server allows at the same time (RFC 9113, section 5.1.2).
func (c *Conn) StreamsMax() int { return int(min(c.life.streamsMax, streamIDMax)) }

// PeerLast returns the highest stream that the server may have processed. After a GOAWAY, the server has processed none of the later
// streams, so their requests can be repeated on another connection (RFC 9113, section 6.8).
func (c *Conn) PeerLast() uint32 { return c.life.peerLast }

// CanOpen reports whether the connection still allows another stream. It does not check StreamsMax.
func (c *Conn) CanOpen() bool {
	return c.err == nil && !c.life.peerLeft && !c.life.leaving && c.streams.lastID < streamIDMax-1
}

// CanUpgrade reports whether the server accepts WebSockets over extended CONNECT (RFC 8441, section 3). It is known once Settled is true.
func (c *Conn) CanUpgrade() bool { return c.life.connect }

// Ping sends a PING. EventPong reports the acknowledgment.
func (c *Conn) Ping() { c.out.ping(pingAlive) }

// WriteRequest begins a stream with the header of a request. block is an HTTP/1.1 header block that package http1 has checked, from the
// request line to the empty line. If end is set, the request has no body. CanOpen must be true. The stream belongs to the caller until
// Release.
func (c *Conn) WriteRequest(block []byte, scheme string, end bool) *Stream {
	s := c.streams.next()
	s.noBody = bytes.HasPrefix(block, []byte("HEAD "))
	var scratch [512]byte
	c.writeFields(s, appendRequest(c.out.beginFields(scratch[:0]), block, scheme, false), end)
	return s
}

// WriteUpgrade is like WriteRequest, but for a GET that asks for a WebSocket with Upgrade. It sends the request as an extended CONNECT
// (RFC 8441, section 5), without Sec-WebSocket-Key and Content-Length. CanUpgrade must be true. If the server accepts, the response is
// reported with status 101, and the stream is a tunnel.
func (c *Conn) WriteUpgrade(block []byte, scheme string) *Stream {
	s := c.streams.next()
	s.Upgrade = true
	var scratch [512]byte
	c.writeFields(s, appendRequest(c.out.beginFields(scratch[:0]), block, scheme, true), false)
	return s
}
