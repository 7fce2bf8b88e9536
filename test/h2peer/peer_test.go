package h2peer

import (
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// echo responds with the body of the request, and with trailers.
func echo(s *Stream, fields []hpack.HeaderField) {
	if Value(fields, ":path") == "/hang" {
		_, _ = s.Block()
		return
	}
	body, err := io.ReadAll(s)
	if err != nil {
		return
	}
	s.Headers(Fields(":status", "103"), false)
	s.Headers(Fields(":status", "200"), false)
	if s.Send(string(body), false) == nil {
		s.Headers(Fields("x-length", Value(fields, "x-length")), true)
	}
}

func start(t *testing.T, admit func(*Stream, []hpack.HeaderField) bool) *Conn {
	t.Helper()
	server, err := Serve(Options{Window: 65535}, admit, echo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return dial(t, server)
}

func dial(t *testing.T, server *Server) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), server.Addr(), Options{Window: 65535})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func open(t *testing.T, c *Conn, path string, end bool) *Stream {
	t.Helper()
	s, err := c.Open(Fields(":method", "POST", ":scheme", "http", ":authority", "a", ":path", path, "x-length", "7"), end)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestExchange(t *testing.T) {
	c := start(t, nil)
	for _, body := range []string{"", "hello", strings.Repeat("0123456789", 100_000)} {
		s := open(t, c, "/", false)
		if err := s.Send(body, true); err != nil {
			t.Fatal(err)
		}
		r, err := s.Response()
		if err != nil || r.Status != 200 || r.Body != body || strings.Join(r.Interim, " ") != "103" || Value(r.Trailers, "x-length") != "7" {
			t.Errorf("%d bytes: status %d, %d bytes, interim %q, trailers %v, %v", len(body), r.Status, len(r.Body), r.Interim, r.Trailers, err)
		}
	}
	if len(c.streams) > 0 {
		t.Error("streams are left")
	}
}

func TestReset(t *testing.T) {
	c := start(t, func(s *Stream, fields []hpack.HeaderField) bool {
		if Value(fields, ":path") == "/refuse" {
			s.Reset(http2.ErrCodeRefusedStream)
			return false
		}
		return true
	})
	if _, err := open(t, c, "/refuse", true).Response(); !errors.Is(err, ErrNotProcessed) {
		t.Error(err)
	}
	hanging := open(t, c, "/hang", false)
	hanging.Reset(http2.ErrCodeCancel)
	if _, err := hanging.Response(); err == nil {
		t.Error("no error after a reset")
	}
	if r, err := open(t, c, "/", true).Response(); err != nil || r.Status != 200 {
		t.Error(r, err)
	}
}

// A server sends GOAWAY with the number of an earlier stream: that stream ends normally, the later one was not processed, and no other
// begins.
func TestGoAway(t *testing.T) {
	c := start(t, func(s *Stream, fields []hpack.HeaderField) bool {
		if Value(fields, ":path") == "/last" {
			s.Conn.GoAway(s.ID-2, http2.ErrCodeNo)
			return false
		}
		return true
	})
	first := open(t, c, "/", false)
	if _, err := open(t, c, "/last", true).Response(); !errors.Is(err, ErrNotProcessed) {
		t.Error(err)
	}
	if s, err := c.Open(Fields(":method", "GET"), true); !errors.Is(err, ErrGoAway) {
		t.Error(s, err)
	}
	if err := first.Send("x", true); err != nil {
		t.Error(err)
	}
	if r, err := first.Response(); err != nil || r.Body != "x" {
		t.Error(r, err)
	}
}
