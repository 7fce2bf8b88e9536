package http2

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// This file contains the client side of a connection. It accepts a request as an HTTP/1.1 header block, and reports a response as such a
// block.

// interimMax is the number of 1xx responses that may precede one final response.
const interimMax = 32

// NewClient returns the client side of a connection. Its output begins with the preface. It ignores Limits.Streams and Limits.Resets.
// Limits.HeaderBytes and Limits.TrailerBytes apply to responses.
func NewClient(limits Limits) *Conn {
	c := newConn(limits)
	c.client, c.state, c.peerStreams, c.peerLast = true, stateHeader, streamIDMax, streamIDMax
	c.out = append(c.out, Preface...)
	c.begin(appendSetting(nil, settingEnablePush, 0))
	return c
}

// Settled reports whether the server's SETTINGS have arrived, so that StreamsMax is known.
func (c *Conn) Settled() bool { return c.settled }

// StreamsMax returns how many streams the server allows at the same time (RFC 9113, section 5.1.2).
func (c *Conn) StreamsMax() int { return int(min(c.peerStreams, streamIDMax)) }

// PeerLast returns the highest stream that the server may have processed. After a GOAWAY, the server has processed none of the later
// streams, so their requests can be repeated on another connection (RFC 9113, section 6.8).
func (c *Conn) PeerLast() uint32 { return c.peerLast }

// CanOpen reports whether another stream may begin, apart from StreamsMax.
func (c *Conn) CanOpen() bool {
	return c.err == nil && !c.peerLeft && !c.leaving && c.lastID < streamIDMax-1
}

// Ping sends a PING. EventPong reports the acknowledgment.
func (c *Conn) Ping() {
	c.out = append(appendFrameHeader(c.out, 8, framePing, 0, 0), "liveness"...)
}

// WriteRequest begins a stream with the header of a request. block is an HTTP/1.1 header block that package http1 has checked, from the request
// line to the empty line. If end is set, the request has no body. CanOpen must be true. The stream belongs to the caller until Release.
func (c *Conn) WriteRequest(block []byte, scheme string, end bool) *Stream {
	if c.lastID++; c.lastID%2 == 0 {
		c.lastID++
	}
	s := c.newStream(c.lastID)
	s.noBody = bytes.HasPrefix(block, []byte("HEAD "))
	var scratch [512]byte
	c.appendBlock(s, appendRequest(c.tableSize(scratch[:0]), block, scheme), end)
	return s
}

// appendRequest encodes the header of a request (RFC 9113, section 8.3.1).
func appendRequest(dst, block []byte, scheme string) []byte {
	line, fields, _ := bytes.Cut(block, []byte("\r\n"))
	method, target, _ := bytes.Cut(line, []byte{' '})
	target = bytes.TrimSuffix(target, []byte(" HTTP/1.1"))
	switch string(method) {
	case "GET":
		dst = append(dst, 0x80|2)
	case "POST":
		dst = append(dst, 0x80|3)
	default:
		dst = appendString(append(dst, 2), method)
	}
	if scheme == "https" {
		dst = append(dst, 0x80|7)
	} else {
		dst = append(dst, 0x80|6)
	}
	if string(target) == "/" {
		dst = append(dst, 0x80|4)
	} else {
		dst = appendString(append(dst, 4), target)
	}
	if host := http1.FieldValue(fields, "host"); len(host) > 0 {
		dst = appendString(append(dst, 1), host)
	}
	return appendFields(dst, fields, "host")
}

// responseBlock finds the stream of a field block from a server.
func (c *Conn) responseBlock(id uint32) (blockKind, *Stream, *ConnError) {
	s := c.streams[id]
	switch {
	case s == nil && (id%2 == 0 || id > c.lastID):
		return blockDiscarded, nil, protocolError("HEADERS on an idle stream")
	case s == nil, s.reset:
		return blockDiscarded, nil, nil
	case s.remoteDone:
		return blockDiscarded, nil, c.streamError(s, CodeStreamClosed)
	case s.final && !c.block.end: // RFC 9113, section 8.1
		return blockDiscarded, nil, c.streamError(s, CodeProtocol)
	case s.final:
		s.Trailers = s.Trailers[:0]
		return blockTrailers, s, nil
	}
	s.Head = s.Head[:0]
	return blockResponse, s, nil
}

// endResponse reports the header of a response.
func (c *Conn) endResponse(s *Stream) *ConnError {
	b := &c.block
	err := b.err
	if b.tooLarge {
		err = http1.ErrHeaderSize
	}
	if err == nil {
		err = b.response.finish(s, b.end)
	}
	if s.interims > interimMax {
		err = errors.New("too many interim responses")
	}
	if err != nil {
		s.Err = err
		return c.streamError(s, CodeProtocol)
	}
	s.remoteDone = b.end
	c.control.add(8, c.limits.Control)
	c.ev = Event{Kind: EventResponse, Stream: s, End: b.end}
	return nil
}

// responseFields is the response that is being read (RFC 9113, section 8.3.2), written as a header block of HTTP/1.1.
type responseFields struct {
	status   string // empty until it has arrived
	lined    bool   // the status line has been written
	length   string // Content-Length
	trailers bool   // trailers have been announced
}

// add adds a field to the block.
func (r *responseFields) add(s *Stream, f hpack.HeaderField) error {
	if strings.HasPrefix(f.Name, ":") {
		if f.Name != ":status" || r.status != "" || r.lined {
			return fmt.Errorf("%w: pseudo-field", http1.ErrResponse)
		}
		r.status = f.Value
		return nil
	}
	if !r.lined {
		if err := r.line(s); err != nil {
			return err
		}
	}
	if err := checkField(f); err != nil {
		return fmt.Errorf("%w: %w", http1.ErrResponse, err)
	}
	switch f.Name {
	case "content-length":
		if r.length != "" || parseLength(f.Value) < 0 {
			return fmt.Errorf("%w: Content-Length", http1.ErrResponse)
		}
		r.length = f.Value
		return nil // written by finish
	case "content-type":
		r.trailers = r.trailers || strings.HasPrefix(f.Value, "application/grpc")
	case "trailer":
		r.trailers = true
	}
	s.Head = appendLine(s.Head, f.Name, f.Value)
	return nil
}

// line checks the status and writes the status line. HTTP/2 has no reason phrases, and no status 101.
func (r *responseFields) line(s *Stream) error {
	r.lined = true
	code, err := strconv.ParseUint(r.status, 10, 16)
	if err != nil || len(r.status) != 3 || code < 100 || code == 101 {
		return fmt.Errorf("%w: :status", http1.ErrResponse)
	}
	s.Head = append(append(append(s.Head, "HTTP/1.1 "...), r.status...), ' ')
	s.Head = append(append(s.Head, http.StatusText(int(code))...), '\r', '\n')
	return nil
}

// finish completes the block, or returns the reason why the response is malformed. end means that nothing follows.
func (r *responseFields) finish(s *Stream, end bool) error {
	if !r.lined {
		if err := r.line(s); err != nil {
			return err
		}
	}
	if s.Interim = r.status[0] == '1'; s.Interim {
		s.interims++
		if end {
			return fmt.Errorf("%w: an interim response that ends the stream", http1.ErrResponse)
		}
		s.Head = append(s.Head, '\r', '\n')
		return nil
	}
	s.final = true
	bodiless := s.noBody || r.status == "204" || r.status == "304"
	switch {
	case bodiless:
		s.length = 0
	case r.length != "":
		s.length = parseLength(r.length)
	}
	switch {
	case end && s.length > 0:
		return fmt.Errorf("%w: a Content-Length without a body", http1.ErrResponse)
	case end && !bodiless:
		r.length = "0"
	case !end && !bodiless && (r.length == "" || r.trailers): // HTTP/1.1 has no place for trailers after a body of declared length
		s.Chunked, r.length = true, ""
		s.Head = appendLine(s.Head, "transfer-encoding", "chunked")
	}
	if r.length != "" {
		s.Head = appendLine(s.Head, "content-length", r.length)
	}
	s.Head = append(s.Head, '\r', '\n')
	return nil
}
