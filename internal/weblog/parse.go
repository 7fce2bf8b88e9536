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
	// Combined is the format that nginx calls combined, and Apache's of the same name; referrer and user agent may be missing (common).
	Combined Format = "combined"
	// JSON is a log of nginx with one JSON object a line (log_format … escape=json), whose fields are named like nginx's variables.
	JSON Format = "json"
	// Caddy is the JSON of Caddy's access log.
	Caddy Format = "caddy"
)

// Formats are all formats.
var Formats = []Format{Combined, JSON, Caddy}

// ErrFormat means that a line is in none of the known formats.
var ErrFormat = errors.New("unknown format")

// Detect returns the format of a log by one of its lines.
func Detect(line []byte) (Format, error) {
	text := bytes.TrimSpace(line)
	if len(text) > 0 && text[0] == '{' {
		object, err := decodeObject(text)
		if err != nil {
			return "", fmt.Errorf("%w: it begins with {, and is no JSON object: %w", ErrFormat, err)
		}
		if _, nested := object["request"].(map[string]any); nested || object["logger"] != nil && object["msg"] != nil {
			return Caddy, nil
		}
		return JSON, nil
	}
	var e event.Event
	p := Parser{Format: Combined}
	if _, err := p.Parse(text, &e); err != nil {
		return "", fmt.Errorf("%w: it is no JSON object, and not combined: %w", ErrFormat, err)
	}
	return Combined, nil
}

// ErrNoResponse means that a line is sound, but is not about a response: one of another logger of Caddy.
var ErrNoResponse = errors.New("the line is not about a response")

// Parser makes events of lines. Format is required.
type Parser struct {
	Format Format
	// Host is the host of responses whose line names none.
	Host string
	// Fields has names of fields in logs of nginx in JSON that are tried first, by their meaning, see [Meanings].
	Fields map[string]string

	scratch []byte // the request line without escapes
}

// Parse fills e from a line: time, method, host, path without its query string, status, sizes and duration. timed reports that the line has
// a duration. The texts of e are valid until the next call, as long as the line is. After [ErrNoResponse], e is not filled.
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
	if e.Status == 101 { // its duration is the lifetime of a connection
		e.Kind, timed = event.KindStream, false
	}
	return timed, nil
}

func cut(text []byte, limit int) []byte { return text[:min(len(text), limit)] }

// combined reads: address, -, user, [time], "request", status, bytes, and perhaps "referrer" and "user agent". A user name may have spaces.
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
		return errors.New(`behind the time there is no request in quotation marks, such as "GET / HTTP/1.1"`)
	}
	p.scratch = unescape(p.scratch[:0], request)
	requestLine(p.scratch, e)
	fields := bytes.Fields(rest)
	if len(fields) < 2 {
		return errors.New("status and size are missing behind the request")
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

// quoted takes a text in quotation marks from the front, behind spaces. A quotation mark in it is escaped by a backslash.
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

// unescape appends a text without the escapes of nginx (\x22) and Apache (\").
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

// requestLine splits a request line. One that is none, such as that of a TLS handshake, gives an event without method and path.
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

// isToken reports whether a method can be one: capital letters, hyphens and underscores.
func isToken(method []byte) bool {
	for _, c := range method {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return len(method) > 0
}
