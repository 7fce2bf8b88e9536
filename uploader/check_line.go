package uploader

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// What a value in a line may be. Beyond these nothing is an event, and a sum over an hour would overflow.
const (
	statusMax = 999
	// figureMax bounds a duration in µs (35 years) and a size in bytes (a pebibyte).
	figureMax = 1 << 50
	// escapedMax is how many bytes in a line may stand for one of an event: %XX.
	escapedMax = 3
	// rowTextMax bounds a host, method or label of a row; wayside cuts them at about 256 bytes.
	rowTextMax = 1024
)

// ParseLine reads one line of an event object that holds the events of an hour (since 1970) and epoch, into l. The error wraps
// [ErrDamaged] for what no wayside writes there, and [ErrNewerFormat].
func ParseLine(text []byte, l *Line, hour int64, epoch uuid.UUID) error {
	*l = Line{}
	if err := json.Unmarshal(text, l); err != nil {
		return damagedf("%w", err)
	}
	if err := CheckSchema("event line", l.Schema); err != nil {
		return err
	}
	return l.check(hour, epoch)
}

func (l *Line) check(hour int64, epoch uuid.UUID) error {
	switch {
	case l.Schema < 1:
		return damagedf("schema_version is %d", l.Schema)
	case l.Epoch != epoch:
		return damagedf("event of epoch %s", l.Epoch)
	case l.Seq == 0:
		return damagedf("seq is 0")
	case stats.HourOf(l.Time) != hour:
		return damagedf("event %d of %s is not of the object's hour", l.Seq, l.Time.UTC().Format("2006-01-02T15:04:05Z"))
	case l.Kind != event.KindRequest.String() && l.Kind != event.KindStream.String() && l.Kind != event.KindDrop.String():
		return damagedf("event %d: kind %.20q", l.Seq, l.Kind)
	case l.Status < 0 || l.Status > statusMax:
		return damagedf("event %d: status %d", l.Seq, l.Status)
	}
	for name, n := range map[string]uint64{
		"duration_us": l.Duration, "ttfb_us": l.TTFB, "http_request_body_size": l.BytesIn, "http_response_body_size": l.BytesOut, "dropped": l.Dropped,
	} {
		if n > figureMax {
			return damagedf("event %d: %s is %d", l.Seq, name, n)
		}
	}
	row := l.Row()
	for _, text := range []struct {
		name, value string
		max         int
	}{
		{"http_request_method", l.Method, escapedMax * event.MethodBytesMax},
		{"server_address", l.Host, escapedMax * event.HostBytesMax},
		{"url_path", l.Path, escapedMax * event.PathBytesMax},
		{"upstream_address", l.Upstream, escapedMax * event.UpstreamBytesMax},
		{"network_protocol_version", l.Protocol, escapedMax * event.ProtocolBytesMax},
		{"client_address", l.Client, escapedMax * event.ClientBytesMax},
		{"trace_id", l.TraceID, escapedMax * event.TraceIDBytesMax},
		{"request_id", l.RequestID, escapedMax * event.RequestIDBytesMax},
		{"error_type", l.ErrorType, event.ErrorTypeBytesMax},
		{"row_host", row.Host, rowTextMax},
		{"row_method", row.Method, rowTextMax},
		{"url_template", row.Label, rowTextMax},
	} {
		if len(text.value) > text.max {
			return damagedf("event %d: %s of %d bytes", l.Seq, text.name, len(text.value))
		}
	}
	return nil
}

// ParseStatsOf is [ParseStats] for a line of the object of an hour and epoch. The error wraps [ErrDamaged] or [ErrNewerFormat].
func ParseStatsOf(text []byte, hour int64, epoch uuid.UUID) (stats.Key, *stats.Row, error) {
	key, row, of, err := parseStats(text)
	switch {
	case err != nil:
		return key, nil, err
	case key.Hour != hour:
		return key, nil, damagedf("statistics of hour %d in an object of hour %d", key.Hour, hour)
	case of != epoch:
		return key, nil, damagedf("statistics of epoch %s", of)
	case len(key.Host) > rowTextMax || len(key.Method) > rowTextMax || len(key.Label) > rowTextMax:
		return key, nil, damagedf("statistics of a row with a name of %d bytes", len(key.Host)+len(key.Method)+len(key.Label))
	case row.MaxMicros > figureMax || row.BytesIn/figureMax > row.Count || row.BytesOut/figureMax > row.Count || row.SumMicros/figureMax > row.Count:
		return key, nil, damagedf("statistics with %d µs at most, %d µs, %d and %d bytes in all, of %d responses",
			row.MaxMicros, row.SumMicros, row.BytesIn, row.BytesOut, row.Count)
	}
	return key, row, nil
}

// restored is a text as an event has it: cut, because a byte that JSON cannot carry became three.
func restored(text string, limit int) []byte { return []byte(text[:min(len(text), limit)]) }
