package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

const (
	readBytes    = 16 << 10 // initial size of a connection's read buffer
	headBytesMax = 64 << 10 // status line and header block of one response
	chunkLineMax = 4 << 10  // size line of one chunk, or one trailer line
)

var errMalformed = errors.New("malformed response")

// Response is one response, received in full. Its slices are valid only during the call to [Options.Verify].
type Response struct {
	Status    int
	Header    []byte // header lines with their line ends, without the status line
	Body      []byte // body without chunk framing, truncated to Options.BodyBytesMax
	BodyBytes int64  // length of the whole body
}

// Get returns the value of the first header field with this name, ignoring case, or nil.
func (r *Response) Get(name string) []byte {
	rest := r.Header
	for len(rest) > 0 {
		var line []byte
		line, rest = cutLine(rest)
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && equalFold(key, name) {
			return bytes.TrimSpace(value)
		}
	}
	return nil
}

// responseReader reads responses from one connection. It is owned by the connection's goroutine.
type responseReader struct {
	conn    io.Reader
	buf     []byte
	from    int // buf[from:to] has been read but not consumed
	to      int
	begun   bool // whether a byte of the current response has arrived
	bodyMax int
	body    []byte // memory for the body, reused for each response
	chunked bool   // framing of the current response
	close   bool   // the server will close the connection after the current response
	length  int64  // declared Content-Length, or -1
}

// read reads one response into r, and skips interim responses (1xx). Afterwards, b.close says whether the connection can no longer be
// used.
func (b *responseReader) read(r *Response, head bool) error {
	b.begun = b.to > b.from
	for {
		if err := b.readHead(r); err != nil {
			return err
		}
		if r.Status >= 200 {
			break
		}
		if r.Status == 101 {
			return fmt.Errorf("%w: unasked-for 101", errMalformed)
		}
	}
	b.body, r.BodyBytes = b.body[:0], 0
	var err error
	switch {
	case head || r.Status == 204 || r.Status == 304:
	case b.chunked:
		err = b.readChunks(r)
	case b.length >= 0:
		err = b.readBody(r, b.length)
	default:
		err = b.readToEnd(r)
	}
	r.Body = b.body
	if err == nil && b.to > b.from {
		return fmt.Errorf("%w: %d bytes beyond its end", errMalformed, b.to-b.from)
	}
	return err
}

func (b *responseReader) readHead(r *Response) error {
	scanned := 0
	for {
		unread := b.buf[b.from:b.to]
		if end := bytes.Index(unread[scanned:], []byte("\r\n\r\n")); end >= 0 {
			end += scanned
			b.from += end + 4
			return b.parseHead(unread[:end+2], r)
		}
		if len(unread) >= headBytesMax {
			return fmt.Errorf("%w: header block above %d bytes", errMalformed, headBytesMax)
		}
		scanned = max(len(unread)-3, 0)
		if err := b.fill(); err != nil {
			return err
		}
	}
}

// parseHead parses the status line and the framing. The header block is copied only if the buffer is needed for the body (see fill).
func (b *responseReader) parseHead(block []byte, r *Response) error {
	line, rest := cutLine(block)
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[8] != ' ' {
		return fmt.Errorf("%w: status line %.40q", errMalformed, line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil || status < 100 || len(line) > 12 && line[12] != ' ' {
		return fmt.Errorf("%w: status line %.40q", errMalformed, line)
	}
	r.Status = status
	r.Header = append(r.Header[:0], rest...)
	b.chunked, b.length = false, -1
	b.close = line[7] == '0'
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		if err := b.parseField(line); err != nil {
			return err
		}
	}
	return nil
}

func (b *responseReader) parseField(line []byte) error {
	key, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return fmt.Errorf("%w: header line %.40q", errMalformed, line)
	}
	switch len(key) { // the length alone is enough to exclude most fields
	case len("Connection"):
		if equalFold(key, "Connection") {
			value = bytes.TrimSpace(value)
			b.close = equalFold(value, "close") || b.close && !equalFold(value, "keep-alive")
		}
	case len("Content-Length"):
		if equalFold(key, "Content-Length") {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 63)
			if err != nil || b.length >= 0 && b.length != int64(n) {
				return fmt.Errorf("%w: Content-Length %.40q", errMalformed, value)
			}
			b.length = int64(n)
		}
	case len("Transfer-Encoding"):
		if equalFold(key, "Transfer-Encoding") {
			if !equalFold(bytes.TrimSpace(value), "chunked") {
				return fmt.Errorf("%w: Transfer-Encoding %.40q", errMalformed, value)
			}
			b.chunked = true
		}
	}
	return nil
}

func (b *responseReader) readBody(r *Response, n int64) error {
	for n > 0 {
		if b.from == b.to {
			if err := b.fill(); err != nil {
				return err
			}
		}
		part := b.buf[b.from:b.to]
		part = part[:min(int64(len(part)), n)]
		b.from += len(part)
		n -= int64(len(part))
		b.keep(r, part)
	}
	return nil
}

func (b *responseReader) readToEnd(r *Response) error {
	b.close = true
	err := b.readBody(r, math.MaxInt64)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (b *responseReader) readChunks(r *Response) error {
	for {
		line, err := b.readLine()
		if err != nil {
			return err
		}
		digits, _, _ := bytes.Cut(line, []byte(";"))
		size, err := strconv.ParseUint(string(bytes.TrimSpace(digits)), 16, 62)
		if err != nil {
			return fmt.Errorf("%w: chunk size %.40q", errMalformed, line)
		}
		if size == 0 {
			return b.skipTrailer()
		}
		if err := b.readBody(r, int64(size)); err != nil {
			return err
		}
		if line, err = b.readLine(); err != nil {
			return err
		}
		if len(line) > 0 {
			return fmt.Errorf("%w: %.40q after a chunk", errMalformed, line)
		}
	}
}

func (b *responseReader) skipTrailer() error {
	for {
		line, err := b.readLine()
		if err != nil || len(line) == 0 {
			return err
		}
	}
}

// readLine returns the next line without its line ending, valid until the next read.
func (b *responseReader) readLine() ([]byte, error) {
	for {
		unread := b.buf[b.from:b.to]
		if end := bytes.IndexByte(unread, '\n'); end >= 0 {
			b.from += end + 1
			return bytes.TrimSuffix(unread[:end], []byte("\r")), nil
		}
		if len(unread) > chunkLineMax {
			return nil, fmt.Errorf("%w: chunk line above %d bytes", errMalformed, chunkLineMax)
		}
		if err := b.fill(); err != nil {
			return nil, err
		}
	}
}

func (b *responseReader) keep(r *Response, part []byte) {
	r.BodyBytes += int64(len(part))
	room := b.bodyMax - len(b.body)
	b.body = append(b.body, part[:min(room, len(part))]...)
}

// fill reads once more. It may move unread bytes to the front of the buffer, and enlarges the buffer if it is full.
func (b *responseReader) fill() error {
	if b.from > 0 {
		b.to = copy(b.buf, b.buf[b.from:b.to])
		b.from = 0
	}
	if b.to == len(b.buf) {
		b.buf = append(b.buf, make([]byte, max(len(b.buf), readBytes))...)
	}
	n, err := b.conn.Read(b.buf[b.to:])
	b.to += n
	if n > 0 {
		b.begun = true
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

func cutLine(b []byte) (line, rest []byte) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return b, nil
	}
	return bytes.TrimSuffix(b[:end], []byte("\r")), b[end+1:]
}

// equalFold reports whether two ASCII texts are equal, ignoring case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		d := s[i]
		if c == d {
			continue
		}
		if c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z' {
			return false
		}
	}
	return true
}
