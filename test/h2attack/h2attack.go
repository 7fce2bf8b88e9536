// Package h2attack is a corpus of hostile HTTP/2 connections (floods of frames, streams that end early, large field blocks, requests and
// responses that never end, and broken frames), for testing how a server copes with them. An attack only writes to the connection; it does
// not read what the server sends.
//
// The server needs a service that reads requests for / and responds to them, responds to requests for /page with at least 10,000 bytes,
// and accepts WebSockets under /socket but does not read from them.
package h2attack

import (
	"bytes"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Attack is a hostile HTTP/2 connection.
type Attack struct {
	Name string
	// Codes are the error codes of GOAWAY with which the server may end the connection because of its frames. The code may depend on the
	// speed of the server. Codes is nil if Held is set.
	Codes  []http2.ErrCode
	Held   bool // the server ends the connection only because of a time limit, not because of its frames
	Unread bool // the client must not read from the connection
	// Requests means that the frames are only requests. If the client's address already has too many requests in progress, the server may
	// respond to each of them with 503 instead of ending the connection.
	Requests bool
	frames   func(c *client)
}

// All returns the corpus. The order is always the same.
func All() []Attack {
	var list []Attack
	for _, part := range [][]Attack{floods(), shortStreams(), fieldBlocks(), heldConnections(), tunnels(), brokenFrames()} {
		list = append(list, part...)
	}
	return list
}

// Write writes the preface of a client and then the frames of the attack. It returns when everything is written, or after the first error:
// the server may end the connection at any time. It changes no limit of the connection, so the caller should set a deadline. Unless the
// attack is Unread, the caller should read from the connection and discard the data.
func (a Attack) Write(conn io.Writer) {
	c := newClient(conn)
	c.write(http2.ClientPreface)
	c.raw(http2.FrameSettings, 0, 0)
	a.frames(c)
}

// ends is an attack that exceeds a limit, after which the server ends the connection.
func ends(name string, frames func(c *client), orWith ...http2.ErrCode) Attack {
	return Attack{Name: name, Codes: append(orWith, http2.ErrCodeEnhanceYourCalm), frames: frames}
}

// held is an attack that the server ends after some time.
func held(name string, frames func(c *client)) Attack {
	return Attack{Name: name, frames: frames, Held: true}
}

// unread is an attack by a client that does not even read.
func unread(name string, frames func(c *client)) Attack {
	return Attack{Name: name, frames: frames, Held: true, Unread: true}
}

// client writes frames until an error occurs.
type client struct {
	conn  io.Writer
	err   error // error of the first write that failed
	f     *http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
	id    uint32 // stream number of the next request
}

func newClient(conn io.Writer) *client {
	c := &client{conn: conn, id: 1}
	c.f = http2.NewFramer(c, nil)
	c.f.AllowIllegalWrites = true
	c.enc = hpack.NewEncoder(&c.block)
	return c
}

// Write writes to the connection, unless an earlier write has failed.
func (c *client) Write(p []byte) (n int, err error) {
	if c.err == nil {
		n, c.err = c.conn.Write(p)
	}
	return n, c.err
}

func (c *client) write(s string) { _, _ = io.WriteString(c, s) }

func (c *client) raw(kind http2.FrameType, flags http2.Flags, id uint32, payload ...byte) {
	_ = c.f.WriteRawFrame(kind, flags, id, payload)
}

func (c *client) fields(pairs ...string) []byte {
	c.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return c.block.Bytes()
}

// request writes a request on the next stream, and returns the stream's number.
func (c *client) request(end bool, fields ...string) uint32 {
	id := c.id
	c.id += 2
	_ = c.f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.fields(fields...), EndStream: end, EndHeaders: true})
	return id
}

var attackRequest = []string{":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a"}

// open begins a request.
func (c *client) open(end bool, more ...string) uint32 {
	return c.request(end, append(append([]string{}, attackRequest...), more...)...)
}

// page requests a large response.
func (c *client) page() uint32 {
	return c.request(true, ":method", "POST", ":scheme", "http", ":path", "/page", ":authority", "a")
}

// connect requests a WebSocket.
func (c *client) connect() uint32 {
	return c.request(false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/socket", ":authority", "a")
}

// often repeats a frame without content, often enough to exceed its budget.
func often(f func(c *client)) func(c *client) { return repeat(4000, f) }

// manyStreams repeats something with a new stream each time. Some streams end early, and others are refused because too many are open.
// The two kinds use up different budgets, and streams of the first kind also add to the budget of the second. So it takes more streams to
// exceed a budget.
func manyStreams(f func(c *client)) func(c *client) { return repeat(50_000, f) }

// early makes the server reset streams, or makes the client reset them.
func early(f func(c *client, id uint32)) func(c *client) {
	return manyStreams(func(c *client) { f(c, c.open(false)) })
}

// repeat repeats something until the server has disconnected, at most n times.
func repeat(n int, f func(c *client)) func(c *client) {
	return func(c *client) {
		for i := 0; i < n && c.err == nil; i++ {
			f(c)
		}
	}
}

func repeated(name, value string, n int) (pairs []string) {
	for range n {
		pairs = append(pairs, name, value)
	}
	return pairs
}
