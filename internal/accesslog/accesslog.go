// Package accesslog writes one JSON line per response for log collectors, independently of the books.
//
// A Log is a Recorder that passes each event on to the next Recorder and then queues a line. The line is made from the event, so it
// contains no query and no header values, and contains a full client address only if that is configured. A separate goroutine writes the
// lines from a bounded queue. If the reader of the log is slow, lines are dropped and counted; requests never wait.
package accesslog

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// Recorder receives the events that a Log passes on. It is the same as proxy.Recorder.
type Recorder interface {
	Record(*event.Event)
	Exclude()
}

// queueLines is the maximum number of lines that are waiting to be written.
const queueLines = 8192

// Log is a Recorder that also writes lines. Run must be running for lines to be written.
type Log struct {
	Recorder // receives every event first
	out      io.Writer
	queue    chan *[]byte // encoded events, owned by the receiver
	spare    sync.Pool    // *[]byte
	dropped  atomic.Uint64
}

// New returns a Log that writes to out and passes events on to next.
func New(next Recorder, out io.Writer) *Log {
	return &Log{
		Recorder: next, out: out, queue: make(chan *[]byte, queueLines),
		spare: sync.Pool{New: func() any { return new([]byte) }},
	}
}

// Record passes the event on, then queues its line. It does not block.
func (l *Log) Record(e *event.Event) {
	l.Recorder.Record(e)
	if len(l.queue) == cap(l.queue) {
		l.dropped.Add(1)
		return
	}
	buf := l.spare.Get().(*[]byte)
	n := e.Size()
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	*buf = (*buf)[:n]
	e.Encode(*buf)
	select {
	case l.queue <- buf:
	default:
		l.dropped.Add(1)
		l.spare.Put(buf)
	}
}

// Dropped returns the number of lines that were lost because the reader of the log was too slow or closed its end.
func (l *Log) Dropped() uint64 { return l.dropped.Load() }

// Run writes lines until ctx is done, then writes the queued ones and returns. After a failed write it continues with the next lines: if
// the pipe is closed, only lines are lost.
func (l *Log) Run(ctx context.Context) error {
	c := &chunk{}
	c.lines = slog.NewJSONHandler(&c.text, &slog.HandlerOptions{ReplaceAttr: bare})
	for {
		select {
		case buf := <-l.queue:
			l.add(c, buf)
		case <-ctx.Done():
			for len(l.queue) > 0 {
				l.add(c, <-l.queue)
			}
			return l.flush(c)
		}
		if len(l.queue) == 0 || c.text.Len() > chunkBytes {
			_ = l.flush(c) // flush counts the lost lines
		}
	}
}

// chunkBytes is the size at which lines are written even if more are queued.
const chunkBytes = 32 << 10

// chunk collects complete lines for one write.
type chunk struct {
	text  bytes.Buffer
	count uint64
	lines slog.Handler // writes to text
}

func (l *Log) add(c *chunk, buf *[]byte) {
	var e event.Event
	if e.Decode(*buf) == nil {
		r := slog.NewRecord(time.UnixMicro(e.TimeMicros).UTC(), slog.LevelInfo, "", 0)
		attrs(&e, &r)
		_ = c.lines.Handle(context.Background(), r) // writing to a buffer cannot fail
		c.count++
	}
	l.spare.Put(buf)
}

// flush writes the chunk. If that fails, it counts the lines of the chunk as dropped.
func (l *Log) flush(c *chunk) error {
	if c.count == 0 {
		return nil
	}
	_, err := l.out.Write(c.text.Bytes())
	if err != nil {
		l.dropped.Add(c.count)
	}
	c.text.Reset()
	c.count = 0
	return err
}

// bare renames the time field and omits level and message, because a line uses the field names of the archive.
func bare(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case slog.LevelKey, slog.MessageKey:
		return slog.Attr{}
	case slog.TimeKey:
		a.Key = "ts"
	}
	return a
}

// attrs adds the fields, with the same names as in the archive (docs/FORMATS.md). It omits empty fields, and numbers that are usually 0
// if they are 0.
func attrs(e *event.Event, r *slog.Record) {
	text := func(name string, value []byte) {
		if len(value) > 0 {
			r.AddAttrs(slog.String(name, string(value)))
		}
	}
	micros := func(name string, value uint64) {
		if value > 0 {
			r.AddAttrs(slog.Uint64(name, value))
		}
	}
	text("http_request_method", e.Method)
	text("server_address", e.Host)
	text("url_path", e.Path)
	r.AddAttrs(
		slog.Int("http_response_status_code", int(e.Status)),
		slog.Uint64("duration_us", e.DurationMicros), slog.Uint64("ttfb_us", e.TTFBMicros),
		slog.Uint64("http_request_body_size", e.RequestBytes), slog.Uint64("http_response_body_size", e.ResponseBytes),
	)
	micros("request_us", e.RequestMicros)
	micros("wait_us", e.WaitMicros)
	text("upstream_address", e.Upstream)
	text("network_protocol_version", e.Protocol)
	text("client_address", e.Client)
	text("trace_id", e.TraceID)
	text("request_id", e.RequestID)
	text("error_type", e.ErrorType)
	text("route", e.Route)
	if code, ok := e.GRPCStatus.Code(); ok {
		r.AddAttrs(slog.Int("rpc_grpc_status_code", code))
	}
	text("tls_protocol_version", []byte(e.TLSProtocol()))
	micros("attempts", uint64(e.Edge().Attempts()))
	r.AddAttrs(slog.String("kind", e.Kind.String()))
}
