package difftest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// message is a request or a response as it was sent.
type message struct {
	line     string
	fields   []string // "Name: value", as sent
	framing  string   // none, length, chunked or close
	body     string
	trailers []string
	end      string // empty if the message is complete; otherwise how it ended early
}

// value returns the value of the first field with this name, and whether there is one.
func (m *message) value(name string) (string, bool) {
	for _, f := range m.fields {
		if n, v, _ := strings.Cut(f, ":"); strings.EqualFold(n, name) {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

// readHead reads a start line and fields. It is meant for messages from proxies, not for hostile ones.
func readHead(br *bufio.Reader) (*message, error) {
	line, err := br.ReadString('\n')
	if err != nil {
		return nil, err
	}
	m := &message{line: strings.TrimRight(line, "\r\n")}
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return m, nil
		}
		m.fields = append(m.fields, line)
	}
}

// readBody reads the body that the header announces. untilClose says whether a message that announces none has a body nevertheless.
func (m *message) readBody(br *bufio.Reader, untilClose bool) {
	length, hasLength := m.value("Content-Length")
	_, chunked := m.value("Transfer-Encoding")
	switch {
	case chunked:
		m.framing = "chunked"
		m.broken(m.readChunks(br))
	case hasLength:
		m.framing = "length"
		n, _ := strconv.Atoi(length)
		b := make([]byte, n)
		got, err := io.ReadFull(br, b)
		m.body = string(b[:got])
		if n > 0 {
			m.broken(err)
		}
	case untilClose:
		m.framing = "close"
		b, err := io.ReadAll(br)
		m.body = string(b)
		m.broken(err)
	default:
		m.framing = "none"
	}
}

func (m *message) readChunks(br *bufio.Reader) error {
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return err
		}
		size, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ";")
		n, err := strconv.ParseInt(size, 16, 32)
		if err != nil {
			return fmt.Errorf("chunk size %q", line)
		}
		if n == 0 {
			break
		}
		b := make([]byte, n+2)
		got, err := io.ReadFull(br, b)
		m.body += string(b[:min(got, int(n))])
		if err != nil {
			return err
		}
	}
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return nil
		}
		m.trailers = append(m.trailers, line)
	}
}

// broken records how a message ended early.
func (m *message) broken(err error) {
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
	case errors.Is(err, syscall.ECONNRESET):
		m.end = "reset"
	case errors.As(err, &timeout) && timeout.Timeout():
		m.end = "hangs"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		m.end = "cut"
	default:
		m.end = err.Error()
	}
}

// text returns the body with its framing, trailers and end.
func (m *message) text() string {
	body := m.body
	if len(body) > 100 {
		body = fmt.Sprintf("%.20s… (%d bytes)", body, len(body))
	}
	s := fmt.Sprintf("%s %q", m.framing, body)
	if len(m.trailers) > 0 {
		s += fmt.Sprintf(" trailers %q", canonical(m.trailers, nil))
	}
	switch {
	case m.end == "reset" && m.framing != "close":
		s += " cut" // equivalent to a connection that was closed too early
	case m.end != "":
		s += " " + m.end
	}
	return s
}

// noise lists fields in which proxies differ by design: those with information about the proxies themselves, and framing and connection
// fields, which are compared separately.
var noise = []string{
	"content-length", "transfer-encoding", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "forwarded", "x-request-id", "date", "server",
}

// canonical returns the fields in lower case, sorted by name, without noise.
func canonical(fields, drop []string) []string {
	var out []string
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ":")
		name, value = strings.ToLower(name), strings.TrimSpace(value)
		if len(value) > 100 {
			value = fmt.Sprintf("(%d bytes)", len(value))
		}
		if slices.Contains(drop, name) || name == "connection" && (value == "close" || strings.EqualFold(value, "keep-alive")) {
			continue
		}
		out = append(out, name+": "+value)
	}
	slices.SortStableFunc(out, func(a, b string) int {
		an, _, _ := strings.Cut(a, ":")
		bn, _, _ := strings.Cut(b, ":")
		return strings.Compare(an, bn)
	})
	return out
}

// names returns the names of the fields as sent, without noise.
func names(fields, drop []string) []string {
	var out []string
	for _, f := range fields {
		name, _, _ := strings.Cut(f, ":")
		if !slices.Contains(drop, strings.ToLower(name)) && !strings.EqualFold(name, "connection") {
			out = append(out, name)
		}
	}
	return out
}
