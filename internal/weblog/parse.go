package weblog

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/wayside-proxy/wayside/internal/event"
)

// Format is the format of a log.
type Format string

// The formats.
const (
	// Combined is the format that both nginx and Apache call combined; the referrer and the user agent may be missing, as in the format
	// common.
	Combined Format = "combined"
	// JSON is the format of an nginx log with one JSON object per line (log_format … escape=json), in which fields have the names of
	// nginx's variables.
	JSON Format = "json"
	// Caddy is the JSON format of Caddy's access log.
	Caddy Format = "caddy"
)

// Formats lists all formats.
var Formats = []Format{Combined, JSON, Caddy}

// ErrFormat means that a line is in none of the known formats.
var ErrFormat = errors.New("unknown format")

// Detect determines the format of a log from one of its lines.
func Detect(line []byte) (Format, error) {
	text := bytes.TrimSpace(line)
	if len(text) > 0 && text[0] == '{' {
		object, err := decodeObject(text)
		if err != nil {
			return "", fmt.Errorf("%w: it begins with {, but is not a JSON object: %w", ErrFormat, err)
		}
		if _, nested := object["request"].(map[string]any); nested || object["logger"] != nil && object["msg"] != nil {
			return Caddy, nil
		}
		return JSON, nil
	}
	var e event.Event
	p := Parser{Format: Combined}
	if _, err := p.Parse(text, &e); err != nil {
		return "", fmt.Errorf("%w: it is neither a JSON object nor in the combined format: %w", ErrFormat, err)
	}
	return Combined, nil
}

// ErrNoResponse means that a line is valid but not about a response: it comes from another logger of Caddy.
var ErrNoResponse = errors.New("the line is not about a response")

// Parser turns lines into events. Format is required.
type Parser struct {
	Format Format
	// Host is the host of responses whose lines do not contain one.
	Host string
	// Fields lists, by meaning (see [Meanings]), the names of fields that are tried first in the JSON logs of nginx.
	Fields map[string]string

	scratch []byte // the request line without escapes
}

// Parse sets the fields of e from a line: time, method, host, path without its query string, status, sizes and duration. timed reports
// whether the line has a duration. The texts of e are valid until the next call, and only as long as line is. After [ErrNoResponse], e
// has no valid fields.
func (p *Parser) Parse(line []byte, e *event.Event) (timed bool, err error) {
	*e = event.Event{Kind: event.KindRequest, Host: []byte(p.Host)}
	switch p.Format {
	case Combined:
		err = p.combined(line, e)
	case JSON:
		timed, err = p.json(line, e)
	case Caddy:
		timed, err = p.caddy(line, e)
	default:
		err = fmt.Errorf("%w %q", ErrFormat, p.Format)
	}
	if err != nil {
		return false, err
	}
	e.Method, e.Host, e.Path = cut(e.Method, event.MethodBytesMax), cut(e.Host, event.HostBytesMax), cut(e.Path, event.PathBytesMax)
	if e.Status == 101 { // the duration in the line is the lifetime of a connection
		e.Kind, timed = event.KindStream, false
	}
	return timed, nil
}

func cut(text []byte, limit int) []byte { return text[:min(len(text), limit)] }

// combined parses: address, -, user, [time], "request", status, bytes, and optionally "referrer" and "user agent". A user name may contain
// spaces.
func (p *Parser) combined(line []byte, e *event.Event) error {
	rest := line
	for {
		i := bytes.Index(rest, []byte(" ["))
		if i < 0 {
			return errors.New("there is no time in brackets, such as [10/Oct/2000:13:55:36 +0200]")
		}
		rest = rest[i+2:]
		end := bytes.IndexByte(rest, ']')
		if end < 0 {
			return errors.New("the time has no closing bracket")
		}
		micros, err := logTime(string(rest[:end]))
		if err == nil {
			e.TimeMicros, rest = micros, rest[end+1:]
			break
		}
		if !bytes.Contains(rest, []byte(" [")) {
			return err
		}
	}
	request, rest, ok := quoted(rest)
	if !ok {
		return errors.New(`after the time there is no request in quotation marks, such as "GET / HTTP/1.1"`)
	}
	p.scratch = unescape(p.scratch[:0], request)
	requestLine(p.scratch, e)
	fields := bytes.Fields(rest)
	if len(fields) < 2 {
		return errors.New("status and size are missing after the request")
	}
	var err error
	if e.Status, err = status(string(fields[0])); err != nil {
		return err
	}
	if e.ResponseBytes, err = number(string(fields[1])); err != nil {
		return fmt.Errorf("size: %w", err)
	}
	return nil
}

// quoted takes a text in quotation marks, which may be preceded by spaces, from the front of the line. A quotation mark in the text is
// escaped with a backslash.
func quoted(line []byte) (text, rest []byte, ok bool) {
	line = bytes.TrimLeft(line, " ")
	if len(line) == 0 || line[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			return line[1:i], line[i+1:], true
		}
	}
	return nil, nil, false
}

// unescape appends a text after decoding the escapes of nginx (\x22) and Apache (\").
func unescape(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' || i+1 == len(text) {
			dst = append(dst, c)
			continue
		}
		i++
		if text[i] == 'x' && i+2 < len(text) && hexDigit(text[i+1]) >= 0 && hexDigit(text[i+2]) >= 0 {
			dst = append(dst, byte(hexDigit(text[i+1])<<4|hexDigit(text[i+2])))
			i += 2
			continue
		}
		dst = append(dst, text[i])
	}
	return dst
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// requestLine splits a request line. If the text is not a request line, for example because it comes from a TLS handshake, the event gets
// no method and no path.
func requestLine(line []byte, e *event.Event) {
	method, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok || !isToken(method) {
		return
	}
	target, protocol, _ := bytes.Cut(rest, []byte{' '})
	if len(protocol) > 0 && !bytes.HasPrefix(protocol, []byte("HTTP/")) {
		return
	}
	e.Method = method
	setTarget(target, e)
}

// setTarget sets the path, and the host if the target has one.
func setTarget(target []byte, e *event.Event) {
	for _, scheme := range []string{"http://", "https://"} {
		if after, absolute := bytes.CutPrefix(target, []byte(scheme)); absolute {
			end := bytes.IndexAny(after, "/?")
			if end < 0 {
				end = len(after)
			}
			e.Host, target = after[:end], after[end:]
			if len(target) == 0 || target[0] == '?' {
				target = []byte{'/'}
			}
		}
	}
	e.Path, _, _ = bytes.Cut(target, []byte{'?'})
}

// isToken reports whether a text can be a method: it may contain only capital letters, hyphens and underscores.
func isToken(method []byte) bool {
	for _, c := range method {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return len(method) > 0
}
