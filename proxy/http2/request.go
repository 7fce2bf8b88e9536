package http2

import (
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/net/http2/hpack"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// This file writes the fields of a request (RFC 9113, section 8.3) as an HTTP/1.1 header block. Requests that RFC 9113 calls malformed
// are reported as errors. Package http1 then applies its rules to the resulting block, as to any HTTP/1.1 request.

// requestFields is the state of the request that is being converted.
type requestFields struct {
	method, scheme, path, authority string
	protocol                        string // of an extended CONNECT
	seen                            pseudo
	lined                           bool   // the request line has been written
	host                            string // value of Host
	hasHost                         bool
	length                          bool   // there is a Content-Length
	cookies                         []byte // joined with "; "; owned, reused
}

func (r *requestFields) reset() { *r = requestFields{cookies: r.cookies[:0]} }

// pseudo is a set of pseudo-fields.
type pseudo uint8

const (
	pseudoMethod pseudo = 1 << iota
	pseudoScheme
	pseudoPath
	pseudoAuthority
	pseudoProtocol
)

// add adds a field.
func (r *requestFields) add(s *Stream, f hpack.HeaderField) error {
	if strings.HasPrefix(f.Name, ":") {
		return r.addPseudo(f)
	}
	if !r.lined {
		if err := r.line(s); err != nil {
			return err
		}
	}
	if err := checkField(f); err != nil {
		return err
	}
	switch f.Name {
	case "host":
		if r.hasHost {
			return fmt.Errorf("%w: Host twice", http1.ErrSyntax)
		}
		r.host, r.hasHost = f.Value, true
		return nil // finish writes it, from :authority if there is one
	case "cookie": // RFC 9113, section 8.2.3
		if len(r.cookies) > 0 {
			r.cookies = append(r.cookies, "; "...)
		}
		r.cookies = append(r.cookies, f.Value...)
		return nil
	case "content-length":
		if r.length || s.Upgrade {
			return fmt.Errorf("%w: Content-Length twice, or in a CONNECT", http1.ErrFraming)
		}
		r.length = true
		if s.length = parseLength(f.Value); s.length < 0 {
			return fmt.Errorf("%w: Content-Length", http1.ErrFraming)
		}
	case "sec-websocket-key", "sec-websocket-accept":
		if s.Upgrade { // not used in HTTP/2 (RFC 8441, section 5)
			return nil
		}
	}
	s.Head = appendLine(s.Head, f.Name, f.Value)
	return nil
}

// addPseudo adds a pseudo-field. Each may occur once, and only before the other fields.
func (r *requestFields) addPseudo(f hpack.HeaderField) error {
	var value *string
	var bit pseudo
	switch f.Name {
	case ":method":
		value, bit = &r.method, pseudoMethod
	case ":scheme":
		value, bit = &r.scheme, pseudoScheme
	case ":path":
		value, bit = &r.path, pseudoPath
	case ":protocol":
		value, bit = &r.protocol, pseudoProtocol
	case ":authority":
		value, bit = &r.authority, pseudoAuthority
	}
	if value == nil || r.seen&bit != 0 || r.lined {
		return fmt.Errorf("%w: pseudo-field", http1.ErrSyntax)
	}
	r.seen |= bit
	*value = f.Value
	return nil
}

// line checks the pseudo-fields and writes the request line. For an extended CONNECT with a protocol other than websocket, the line remains
// a CONNECT, which package http1 refuses.
func (r *requestFields) line(s *Stream) error {
	r.lined = true
	if !isToken(r.method) {
		return fmt.Errorf("%w: :method", http1.ErrSyntax)
	}
	connect, extended := r.method == "CONNECT", r.seen&pseudoProtocol != 0
	method, target := r.method, r.path
	switch {
	case connect && !extended:
		target = r.authority
	case connect && strings.EqualFold(r.protocol, "websocket"):
		s.Upgrade, method = true, "GET"
	}
	if target != "" && plainBytes(target) { // it is recorded even if the request is refused
		s.Head = append(append(s.Head, method...), ' ')
		s.Head = append(append(s.Head, target...), " HTTP/1.1\r\n"...)
	}
	switch {
	case connect && r.seen == pseudoMethod|pseudoAuthority:
		return http1.ErrMethod
	case connect != extended, r.seen&(pseudoScheme|pseudoPath) != pseudoScheme|pseudoPath, !isHTTP(r.scheme):
		return fmt.Errorf("%w: pseudo-fields", http1.ErrSyntax)
	// The target must be in origin form, or "*" for OPTIONS. The absolute form would name a second authority.
	case len(s.Head) == 0, target[0] != '/' && (target != "*" || r.method != "OPTIONS"):
		return fmt.Errorf("%w: :path", http1.ErrTarget)
	}
	return nil
}

// finish completes the block or, if the request is malformed, sets s.Err.
func (r *requestFields) finish(s *Stream, end, tooLarge bool, err error) {
	if err == nil && !r.lined {
		err = r.line(s)
	}
	if err == nil && r.seen&pseudoAuthority != 0 && r.hasHost && !strings.EqualFold(r.host, r.authority) {
		err = fmt.Errorf("%w: Host differs from :authority", http1.ErrSyntax)
	}
	if err == nil && end && s.length > 0 {
		err = fmt.Errorf("%w: a Content-Length without a body", http1.ErrFraming)
	}
	if err == nil && tooLarge {
		err = http1.ErrHeaderSize
	}
	if s.Err = err; len(s.Head) == 0 {
		return
	}
	if r.seen&pseudoAuthority != 0 {
		r.host, r.hasHost = r.authority, true
	}
	if r.hasHost && plainBytes(r.host) {
		s.Head = appendLine(s.Head, "host", r.host)
	} else if r.hasHost && s.Err == nil {
		s.Err = fmt.Errorf("%w: :authority", http1.ErrSyntax)
	}
	if len(r.cookies) > 0 {
		s.Head = appendLine(s.Head, "cookie", unsafe.String(unsafe.SliceData(r.cookies), len(r.cookies)))
	}
	switch {
	case s.Upgrade:
		s.Head = append(s.Head, "connection: Upgrade\r\nupgrade: websocket\r\n"...)
	case !end && !r.length:
		s.Chunked = true
		s.Head = appendLine(s.Head, "transfer-encoding", "chunked")
	case end && !r.length && (r.method == "POST" || r.method == "PUT" || r.method == "PATCH"):
		s.Head = appendLine(s.Head, "content-length", "0") // RFC 9110, section 8.6: some servers require a length
	}
	s.Head = append(s.Head, '\r', '\n')
}

// checkField checks a field in a request's header or trailers (RFC 9113, sections 8.2.1 and 8.2.2).
func checkField(f hpack.HeaderField) error {
	if f.Name == "" || !isToken(f.Name) || strings.ContainsFunc(f.Name, isUpper) {
		return fmt.Errorf("%w: name", http1.ErrSyntax)
	}
	if v := f.Value; v != "" && (isSpace(v[0]) || isSpace(v[len(v)-1]) || !http1.ValidValue(unsafe.Slice(unsafe.StringData(v), len(v)))) {
		return fmt.Errorf("%w: value", http1.ErrSyntax)
	}
	switch f.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return fmt.Errorf("%w: a field of the connection", http1.ErrSyntax)
	case "te":
		if !strings.EqualFold(f.Value, "trailers") {
			return fmt.Errorf("%w: TE", http1.ErrSyntax)
		}
	}
	return nil
}

// appendTrailer appends a field to the trailer section.
func appendTrailer(dst []byte, f hpack.HeaderField) ([]byte, error) {
	if err := checkField(f); err != nil {
		return dst, err
	}
	return appendLine(dst, f.Name, f.Value), nil
}

func appendLine(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(append(dst, value...), '\r', '\n')
}

func isUpper(r rune) bool { return r >= 'A' && r <= 'Z' }

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func isHTTP(scheme string) bool {
	return strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")
}

func isToken(s string) bool {
	for i := range len(s) {
		if !http1.IsToken(s[i]) {
			return false
		}
	}
	return s != ""
}

// plainBytes reports whether s has no spaces and no control characters, which would end a part of the request line or of a field.
func plainBytes(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// parseLength parses a Content-Length. It returns -1 for anything but digits.
func parseLength(s string) int64 {
	if s == "" || len(s) > 18 {
		return -1
	}
	n := int64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n
}
