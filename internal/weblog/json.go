package weblog

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/wayside-proxy/wayside/internal/event"
)

// fieldNames lists, for each meaning of a field, the names that are tried, starting with nginx's variables.
var fieldNames = map[string][]string{
	"time":      {"time_iso8601", "time_local", "msec", "time", "@timestamp", "timestamp", "ts"},
	"method":    {"request_method", "method"},
	"uri":       {"request_uri", "uri", "url", "path"},
	"request":   {"request"},
	"status":    {"status"},
	"bytes_out": {"body_bytes_sent", "bytes_sent", "bytes"},
	"bytes_in":  {"content_length", "http_content_length"},
	"duration":  {"request_time", "duration"},
	"host":      {"host", "http_host", "server_name", "vhost"},
}

// Meanings returns the keys that [Parser.Fields] may have, in ascending order.
func Meanings() []string { return slices.Sorted(maps.Keys(fieldNames)) }

// find returns the value of the field that has the given meaning, or nil if the object has no such field.
func (p *Parser) find(object map[string]any, meaning string) any {
	if name := p.Fields[meaning]; name != "" {
		return object[name]
	}
	for _, name := range fieldNames[meaning] {
		if v, ok := object[name]; ok {
			return v
		}
	}
	return nil
}

// text returns a value as text; a number stays as it was written.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return string(v)
	}
	return ""
}

func decodeObject(line []byte) (map[string]any, error) {
	in := json.NewDecoder(strings.NewReader(string(line)))
	in.UseNumber()
	var object map[string]any
	if err := in.Decode(&object); err != nil {
		return nil, err
	}
	if in.More() {
		return nil, errors.New("there is text after the object")
	}
	return object, nil
}

// json parses a line of an nginx log in JSON.
func (p *Parser) json(line []byte, e *event.Event) (timed bool, err error) {
	object, err := decodeObject(line)
	if err != nil {
		return false, fmt.Errorf("it is not a JSON object: %w", err)
	}
	if err := p.missing(object); err != nil {
		return false, err
	}
	if e.TimeMicros, err = logTime(text(p.find(object, "time"))); err != nil {
		return false, err
	}
	if e.Status, err = status(text(p.find(object, "status"))); err != nil {
		return false, err
	}
	if e.ResponseBytes, err = number(text(p.find(object, "bytes_out"))); err != nil {
		return false, err
	}
	if e.RequestBytes, err = number(text(p.find(object, "bytes_in"))); err != nil {
		return false, err
	}
	if host := text(p.find(object, "host")); host != "" {
		e.Host = []byte(host)
	}
	if e.DurationMicros, timed, err = seconds(text(p.find(object, "duration"))); err != nil {
		return false, err
	}
	if uri := text(p.find(object, "uri")); uri != "" {
		if method := []byte(text(p.find(object, "method"))); isToken(method) {
			e.Method = method
		}
		setTarget([]byte(uri), e)
		return timed, nil
	}
	requestLine([]byte(text(p.find(object, "request"))), e)
	return timed, nil
}

// missing returns an error that names a required field that an object does not have.
func (p *Parser) missing(object map[string]any) error {
	for _, meaning := range []string{"time", "status", "uri"} {
		if p.find(object, meaning) != nil || meaning == "uri" && p.find(object, "request") != nil {
			continue
		}
		names := fieldNames[meaning]
		if name := p.Fields[meaning]; name != "" {
			names = []string{name}
		} else if meaning == "uri" {
			names = append(slices.Clone(names), "request")
		}
		return fmt.Errorf("it has no field for %s (%s); name it with --field %s=NAME", meaning, strings.Join(names, ", "), meaning)
	}
	return nil
}

// caddyLine holds the fields of one of Caddy's lines that are used.
type caddyLine struct {
	Logger  string          `json:"logger"`
	Time    json.RawMessage `json:"ts"`
	Request *struct {
		Method string `json:"method"`
		Host   string `json:"host"`
		URI    string `json:"uri"`
	} `json:"request"`
	BytesRead uint64          `json:"bytes_read"`
	Size      uint64          `json:"size"`
	Status    *uint16         `json:"status"`
	Duration  json.RawMessage `json:"duration"`
}

// caddy parses a line of Caddy's log. Other loggers of Caddy may also write to the same file.
func (p *Parser) caddy(line []byte, e *event.Event) (timed bool, err error) {
	var l caddyLine
	if err := json.Unmarshal(line, &l); err != nil {
		return false, fmt.Errorf("it is not a line of a JSON log of Caddy: %w", err)
	}
	if l.Request == nil || l.Status == nil || l.Logger != "" && !strings.HasPrefix(l.Logger, "http.log.access") {
		return false, ErrNoResponse
	}
	if e.TimeMicros, err = logTime(strings.Trim(string(l.Time), `"`)); err != nil {
		return false, err
	}
	if e.Status, err = status(strconv.Itoa(int(*l.Status))); err != nil {
		return false, err
	}
	if l.Size > sizeMax || l.BytesRead > sizeMax {
		return false, errors.New("its sizes are not numbers of bytes")
	}
	e.ResponseBytes, e.RequestBytes = l.Size, l.BytesRead
	if l.Request.Host != "" {
		e.Host = []byte(l.Request.Host)
	}
	if method := []byte(l.Request.Method); isToken(method) {
		e.Method = method
	}
	setTarget([]byte(l.Request.URI), e)
	e.DurationMicros, timed, err = seconds(strings.Trim(string(l.Duration), `"`))
	return timed, err
}
