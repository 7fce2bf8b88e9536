package difftest

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wayside-proxy/wayside/test/h2peer"
)

// This file has the client and the origin that speak HTTP/2. They convert the messages of the scenarios.

// connectionFields must not be in HTTP/2 messages (RFC 9113, section 8.2.2). Transfer-Encoding is left out when a message is converted.
var connectionFields = []string{"connection", "keep-alive", "proxy-connection", "upgrade", "te"}

// convert returns fields in the form of HTTP/2. ok is false if they cannot be sent.
func convert(fields []string) (list []hpack.HeaderField, ok bool) {
	for _, f := range fields {
		name, value, found := strings.Cut(f, ":")
		name, value = strings.ToLower(name), strings.Trim(value, " \t")
		switch {
		case !found, !regexp.MustCompile("^[a-z0-9!#$%&'*+.^_`|~-]+$").MatchString(name), strings.ContainsAny(value, "\x00\x01\r\n"):
			return nil, false
		case name == "te" && value == "trailers", name == "connection" && strings.EqualFold(value, "keep-alive"):
			continue // nothing but a property of the connection
		case slices.Contains(connectionFields, name):
			return nil, false
		case name != "transfer-encoding" && name != "host":
			list = append(list, hpack.HeaderField{Name: name, Value: value})
		}
	}
	return list, true
}

// http2Request returns the scenario's request, if there is only one and HTTP/2 has its counterpart.
func http2Request(s scenario) (*message, bool) {
	if len(s.send) != 1 || s.expect != "" || s.name == "expect not waited for" { // over HTTP/2, the body arrives in a frame of its own
		return nil, false
	}
	br := bufio.NewReaderSize(strings.NewReader(s.send[0]), 1<<20)
	m, err := readHead(br)
	if err != nil {
		return nil, false
	}
	m.readBody(br, false)
	words := strings.Split(m.line, " ")
	_, ok := convert(m.fields)
	_, trailersOK := convert(m.trailers)
	_, more := br.ReadByte()
	host := 0
	for _, f := range m.fields {
		if strings.HasPrefix(strings.ToLower(f), "host:") {
			host++
		}
	}
	return m, ok && trailersOK && m.end == "" && more == io.EOF && host == 1 && len(words) == 3 && words[2] == "HTTP/1.1" && !strings.Contains(words[1], "://")
}

// http2Answer returns the responses of the scenario's origin, if HTTP/2 has their counterparts. A response that is cut off is one of them.
func http2Answer(s scenario, method string) (list []*message, ok bool) {
	if s.expect != "" || s.after == "reset" {
		return nil, false
	}
	text := s.answer
	if text == "" {
		text = okAnswer
	}
	br := bufio.NewReaderSize(strings.NewReader(text), 1<<20)
	for {
		m, err := readHead(br)
		if err != nil {
			return nil, false
		}
		list = append(list, m)
		_, ok := convert(m.fields)
		if code := m.code(); !ok || !regexp.MustCompile("^HTTP/1[.][01] [1-9][0-9][0-9]( |$)").MatchString(m.line) || code == "101" {
			return nil, false
		} else if code[0] == '1' {
			continue
		} else if code != "204" && code != "304" && method != "HEAD" {
			m.readBody(br, true)
		}
		_, trailersOK := convert(m.trailers)
		_, more := br.ReadByte()
		if strings.HasPrefix(s.name, "broken ") { // other faults are those of the syntax of HTTP/1.1
			return list, trailersOK && m.end == "cut"
		}
		return list, trailersOK && more == io.EOF && m.end == ""
	}
}

// http2Message makes a message of what has arrived.
func http2Message(line string, fields []hpack.HeaderField, body string, trailers []hpack.HeaderField) *message {
	m := &message{line: line, body: body, framing: "stream"}
	for _, f := range fields {
		switch {
		case f.Name == ":authority":
			m.fields = append(m.fields, "host: "+f.Value)
		case f.Name[0] != ':':
			m.fields = append(m.fields, f.Name+": "+f.Value)
		}
	}
	for _, f := range trailers {
		m.trailers = append(m.trailers, f.Name+": "+f.Value)
	}
	if _, ok := m.value("Content-Length"); ok {
		m.framing = "length"
	}
	return m
}

// talkHTTP2 is the client that speaks HTTP/2.
func talkHTTP2(t *testing.T, addr string, s scenario) []*response {
	t.Helper()
	c, err := h2peer.Dial(t.Context(), addr, h2peer.Options{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, _ := http2Request(s)
	words := strings.Split(m.line, " ")
	host, _ := m.value("Host")
	fields, _ := convert(m.fields)
	trailers, _ := convert(m.trailers)
	fields = append(h2peer.Fields(":method", words[0], ":scheme", "http", ":authority", host, ":path", words[1]), fields...)
	stream, err := c.Open(fields, m.body == "" && trailers == nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.body != "" {
		_ = stream.Send(m.body, trailers == nil) // the response says why it failed
	}
	if trailers != nil {
		stream.Headers(trailers, true)
	}
	r, err := stream.Response()
	out := &response{&message{}, r.Interim}
	if r.Status != 0 {
		out.message = http2Message(fmt.Sprintf("HTTP/2 %d", r.Status), r.Header, r.Body, r.Trailers)
	}
	switch {
	case err == h2peer.ErrTimeout:
		out.end = "hangs"
	case err != nil:
		out.end = "cut"
	}
	if code := out.code(); words[0] == "HEAD" || code == "204" || code == "304" {
		out.framing = "none"
		if v, ok := out.value("Content-Length"); ok {
			out.framing = "none, announced " + v
		}
	}
	return []*response{out}
}

// http2Recorder is a recorder that speaks HTTP/2.
type http2Recorder struct {
	recorded
	server *h2peer.Server
}

func newHTTP2Recorder(t *testing.T) *http2Recorder {
	t.Helper()
	r := &http2Recorder{}
	var err error
	if r.server, err = h2peer.Serve(h2peer.Options{}, nil, r.exchange); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.server.Stop)
	return r
}

func (r *http2Recorder) addr() string { return r.server.Addr() }

func (r *http2Recorder) exchange(s *h2peer.Stream, fields []hpack.HeaderField) {
	line := h2peer.Value(fields, ":method") + " " + h2peer.Value(fields, ":path")
	playing, number := r.current(line + " ")
	if h2peer.Value(fields, "expect") == "100-continue" {
		s.Headers(h2peer.Fields(":status", "100"), false)
	}
	m := http2Message(line, fields, "", nil)
	if !playing.early {
		body, err := io.ReadAll(s)
		if err != nil {
			return // an incomplete request does not count
		}
		trailers, _ := s.Block()
		m = http2Message(line+" HTTP/2", fields, string(body), trailers)
		if m.framing != "length" && m.body == "" && trailers == nil {
			m.framing = "none"
		}
	}
	r.add(m, number)
	answers, _ := http2Answer(playing, h2peer.Value(fields, ":method"))
	for i, a := range answers {
		list, _ := convert(a.fields)
		trailers, _ := convert(a.trailers)
		final := i == len(answers)-1
		s.Headers(append(h2peer.Fields(":status", a.code()), list...), final && a.body == "" && a.end == "" && trailers == nil)
		if !final {
			continue
		}
		cut := a.end != "" && a.framing == "chunked"
		_ = s.Send(a.body, trailers == nil && !cut)
		switch {
		case cut:
			s.Reset(http2.ErrCodeInternal)
		case trailers != nil:
			s.Headers(trailers, true)
		}
	}
}
