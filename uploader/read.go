package uploader

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// Line is one line of an archive object, decoded. Fields that a line lacks are zero.
type Line struct {
	EventID   uuid.UUID `json:"event_id"`
	Time      time.Time `json:"ts"`
	Method    string    `json:"http_request_method"`
	Path      string    `json:"url_path"`
	Template  string    `json:"url_template"`
	Status    int       `json:"http_response_status_code"`
	Duration  uint64    `json:"duration_us"`
	TTFB      uint64    `json:"ttfb_us"`
	BytesIn   uint64    `json:"http_request_body_size"`
	BytesOut  uint64    `json:"http_response_body_size"`
	Host      string    `json:"server_address"`
	Upstream  string    `json:"upstream_address"`
	Protocol  string    `json:"network_protocol_version"`
	Client    string    `json:"client_address"`
	TraceID   string    `json:"trace_id"`
	RequestID string    `json:"request_id"`
	ErrorType string    `json:"error_type"`
	// The row that counts the event, where it is not under Host and Method.
	RowHost   *string   `json:"row_host"`
	RowMethod *string   `json:"row_method"`
	Kind      string    `json:"kind"`
	Dropped   uint64    `json:"dropped"`
	Service   string    `json:"service"`
	Instance  string    `json:"instance"`
	Epoch     uuid.UUID `json:"epoch"`
	Seq       uint64    `json:"seq"`
	Schema    int       `json:"schema_version"`
}

// Row names the statistics row that counts the event.
func (l *Line) Row() catalogue.RowName {
	n := catalogue.RowName{Host: l.Host, Method: l.Method, Label: l.Template}
	if l.RowHost != nil {
		n.Host = *l.RowHost
	}
	if l.RowMethod != nil {
		n.Method = *l.RowMethod
	}
	return n
}

// Event is the event that the line was written from, as far as the archive keeps it. Its slices are its own.
func (l *Line) Event() event.Event {
	e := event.Event{
		TimeMicros: l.Time.UnixMicro(), Kind: event.KindRequest, Status: uint16(l.Status), //nolint:gosec // three digits
		DurationMicros: l.Duration, TTFBMicros: l.TTFB, RequestBytes: l.BytesIn, ResponseBytes: l.BytesOut,
		Method: restored(l.Method, event.MethodBytesMax), Host: restored(l.Host, event.HostBytesMax), Path: restored(l.Path, event.PathBytesMax),
		Upstream: restored(l.Upstream, event.UpstreamBytesMax), Protocol: restored(l.Protocol, event.ProtocolBytesMax),
		Client: restored(l.Client, event.ClientBytesMax), TraceID: restored(l.TraceID, event.TraceIDBytesMax),
		RequestID: restored(l.RequestID, event.RequestIDBytesMax), ErrorType: restored(l.ErrorType, event.ErrorTypeBytesMax),
	}
	switch l.Kind {
	case event.KindStream.String():
		e.Kind = event.KindStream
	case event.KindDrop.String():
		e.Kind, e.RequestBytes = event.KindDrop, l.Dropped
	}
	return e
}

// ReadLines calls fn for each line of an object, without its line feed. The slice is valid during the call. The error wraps
// [ErrDamaged] if the object is to blame.
func ReadLines(ctx context.Context, t Target, key string, fn func(line []byte) error) error {
	body, meta, err := t.Get(ctx, key)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := CheckFormat(key, meta); err != nil {
		return err
	}
	r, err := NewLineReader(body, meta)
	for err == nil {
		var line []byte
		if line, err = r.Next(); err != nil {
			break
		}
		if err := fn(line); err != nil {
			return err
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("read %s: %w", key, err)
}

// ReadObject calls fn for each line of an object, decoded. The line is reused.
func ReadObject(ctx context.Context, t Target, key string, fn func(*Line) error) error {
	var line Line
	n := 0
	return ReadLines(ctx, t, key, func(text []byte) error {
		n++
		line = Line{}
		if err := json.Unmarshal(text, &line); err != nil {
			return fmt.Errorf("read %s, line %d: %w", key, n, err)
		}
		if err := CheckSchema(key, line.Schema); err != nil {
			return err
		}
		return fn(&line)
	})
}

// Count is what the objects of a target hold.
type Count struct {
	Objects  int
	Lines    int   // all lines
	Rows     int   // responses: lines that are not drop records
	Distinct int   // different event IDs
	Bytes    int64 // compressed
}

// CountTarget reads all event objects of a target. It keeps 16 bytes for each line in memory.
func CountTarget(ctx context.Context, t Target) (Count, error) {
	var c Count
	ids := map[uuid.UUID]struct{}{}
	err := t.List(ctx, EventsPrefix, func(o ObjectInfo) error {
		c.Objects++
		c.Bytes += o.Size
		return ReadLines(ctx, t, o.Key, func(line []byte) error {
			c.Lines++
			if !bytes.Contains(line, dropMark) {
				c.Rows++
			}
			id, err := lineID(line)
			if err != nil {
				return fmt.Errorf("read %s: %w", o.Key, err)
			}
			ids[id] = struct{}{}
			return nil
		})
	})
	c.Distinct = len(ids)
	return c, err
}

// CountLines is CountTarget without the IDs.
func CountLines(ctx context.Context, t Target) (objects, lines, rows int, err error) {
	err = t.List(ctx, EventsPrefix, func(o ObjectInfo) error {
		objects++
		return ReadLines(ctx, t, o.Key, func(line []byte) error {
			lines++
			if !bytes.Contains(line, dropMark) {
				rows++
			}
			return nil
		})
	})
	return objects, lines, rows, err
}

// dropMark cannot stand inside a string: quotation marks are escaped there.
var dropMark = []byte(`,"kind":"drop"`)

var idMark = []byte(`{"event_id":"`)

func lineID(line []byte) (uuid.UUID, error) {
	rest, found := bytes.CutPrefix(line, idMark)
	if !found || len(rest) < 36 {
		return uuid.UUID{}, errors.New("line does not begin with an event_id")
	}
	return uuid.ParseBytes(rest[:36])
}
