package accesslog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wayside-proxy/wayside/internal/event"
)

type counting struct{ recorded, excluded atomic.Int64 }

func (c *counting) Record(*event.Event) { c.recorded.Add(1) }
func (c *counting) Exclude()            { c.excluded.Add(1) }

func sample() *event.Event {
	return &event.Event{
		TimeMicros: 1_790_000_000_123_456, Kind: event.KindStream, Status: 101, DurationMicros: 5_000_000, TTFBMicros: 900, RequestMicros: 70,
		RequestBytes: 7, ResponseBytes: 8, Method: []byte("GET"), Host: []byte("app.example"), Path: []byte("/a\"b\xff\n"),
		Upstream: []byte("127.0.0.1:3000"), Protocol: []byte("1.1"), Client: []byte("10.0.0.0"), ErrorType: []byte("shutdown"),
	}
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	next := &counting{}
	l := New(next, &out)
	l.Record(sample())
	l.Record(&event.Event{Kind: event.KindRequest, Status: 400})
	l.Exclude()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	first, rest, _ := bytes.Cut(out.Bytes(), []byte("\n"))
	if err := json.Unmarshal(first, &got); err != nil {
		t.Fatal(err, out.String())
	}
	want := map[string]any{
		"ts": "2026-09-21T14:13:20.123456Z", "http_request_method": "GET", "server_address": "app.example", "url_path": "/a\"b�\n",
		"http_response_status_code": 101.0, "duration_us": 5e6, "ttfb_us": 900.0, "request_us": 70.0, "http_request_body_size": 7.0, "http_response_body_size": 8.0,
		"upstream_address": "127.0.0.1:3000", "network_protocol_version": "1.1", "client_address": "10.0.0.0", "error_type": "shutdown", "kind": "stream",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if bytes.Count(rest, []byte("\n")) != 1 || !json.Valid(rest) || bytes.Contains(rest, []byte("method")) {
		t.Errorf("second line: %s", rest)
	}
	if next.recorded.Load() != 2 || next.excluded.Load() != 1 {
		t.Errorf("passed on %d and %d", next.recorded.Load(), next.excluded.Load())
	}
}

// blocked is a writer that blocks until it is released, and then fails.
type blocked struct{ entered, release chan struct{} }

func (b *blocked) Write([]byte) (int, error) {
	close(b.entered)
	<-b.release
	return 0, errors.New("reader left")
}

func TestASlowReaderCostsLinesAndNothingElse(t *testing.T) {
	out := &blocked{make(chan struct{}), make(chan struct{})}
	next := &counting{}
	l := New(next, out)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	l.Record(sample())
	<-out.entered
	const n = queueLines + 1000
	for range n {
		l.Record(sample()) // hangs here if Record waits
	}
	if got := l.Dropped(); got < 1000 {
		t.Errorf("%d lines dropped, want at least 1000", got)
	}
	if next.recorded.Load() != n+1 {
		t.Errorf("%d recorded, want %d", next.recorded.Load(), n+1)
	}
	l.out = io.Discard
	cancel()
	close(out.release)
	<-done
}
