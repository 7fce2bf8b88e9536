package http2

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// This file writes the fields of a response (RFC 9113, section 8.3.2) as an HTTP/1.1 header block. Responses that RFC 9113 calls malformed
// are reported as errors.

// responseFields is the state of the response that is being converted.
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

// line checks the status and writes the status line. HTTP/2 has no reason phrases, and no status 101. A server accepts an extended CONNECT
// with any status 2xx.
func (r *responseFields) line(s *Stream) error {
	r.lined = true
	code, err := strconv.ParseUint(r.status, 10, 16)
	if err != nil || len(r.status) != 3 || code < 100 || code == 101 {
		return fmt.Errorf("%w: :status", http1.ErrResponse)
	}
	if s.Upgrade && code/100 == 2 {
		s.tunnel = true
		s.Head = append(s.Head, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"...)
		return nil
	}
	s.Head = append(append(append(s.Head, "HTTP/1.1 "...), r.status...), ' ')
	s.Head = append(append(s.Head, http.StatusText(int(code))...), '\r', '\n')
	return nil
}

// interimMax is the number of 1xx responses that may precede one final response.
const interimMax = 32

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
	if s.tunnel { // a Content-Length has no meaning (RFC 9110, section 9.3.6)
		s.Head = append(s.Head, '\r', '\n')
		return nil
	}
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
