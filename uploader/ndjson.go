package uploader

import (
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// SchemaVersion is the schema_version of the lines that this version writes. It increases when a field is removed or changes its meaning,
// but not when a field is added.
const SchemaVersion = 1

// Optional fields. FieldTraceID is written if it is in [Options.Fields]; the others are omitted if they are in [Options.Omit]. Statistics
// do not need any of these fields.
const (
	FieldTraceID  = "trace_id"
	FieldPath     = "url_path"
	FieldUpstream = "upstream_address"
	FieldProtocol = "network_protocol_version"
	FieldClient   = "client_address"
)

// OmitFields are the fields that [Options.Omit] may name.
var OmitFields = []string{FieldPath, FieldUpstream, FieldProtocol, FieldClient}

// omitted is the prefix that marks an omitted field in a plan's list of fields.
const omitted = "-"

// lineWriter writes the events of one plan as lines of NDJSON. It formats the parts that are the same in every line only once.
type lineWriter struct {
	epoch   uuid.UUID
	traceID bool
	// Fields to omit.
	noPath, noUpstream, noProtocol, noClient bool

	tail []byte // text of each line from service up to the sequence number
	end  []byte // text of each line after the sequence number

	second     int64 // the second that is formatted in stamp
	stamp      []byte
	haveSecond bool
}

func newLineWriter(p *catalogue.Plan) *lineWriter {
	w := &lineWriter{epoch: p.Epoch}
	for _, f := range p.Fields {
		switch f {
		case FieldTraceID:
			w.traceID = true
		case omitted + FieldPath:
			w.noPath = true
		case omitted + FieldUpstream:
			w.noUpstream = true
		case omitted + FieldProtocol:
			w.noProtocol = true
		case omitted + FieldClient:
			w.noClient = true
		}
	}
	w.tail = append(w.tail, `,"service":`...)
	w.tail = appendString(w.tail, []byte(p.Service))
	w.tail = append(w.tail, `,"instance":`...)
	w.tail = appendString(w.tail, []byte(p.Instance))
	w.tail = append(w.tail, `,"epoch":"`...)
	w.tail = append(w.tail, p.Epoch.String()...)
	w.tail = append(w.tail, `","seq":`...)
	w.end = append(w.end, `,"schema_version":`...)
	w.end = strconv.AppendInt(w.end, SchemaVersion, 10)
	w.end = append(w.end, "}\n"...)
	return w
}

// appendLine appends one event with a line feed. The order of the fields is part of the format. Empty text fields are omitted. Drop
// records have only the fields that apply to them, and "dropped": the number of responses that were dropped for the reason in error_type
// since the epoch began.
func (w *lineWriter) appendLine(dst []byte, seq uint64, row *catalogue.RowName, e *event.Event) []byte {
	dst = append(dst, `{"event_id":"`...)
	dst = appendUUID(dst, event.ID(e.TimeMicros, w.epoch, seq))
	dst = append(dst, `","ts":"`...)
	dst = w.appendTime(dst, e.TimeMicros)
	dst = append(dst, '"')
	if e.IsResponse() {
		dst = w.appendResponse(dst, row, e)
	}
	dst = appendField(dst, `,"error_type":`, e.ErrorType)
	dst = append(dst, `,"kind":"`...)
	dst = append(dst, e.Kind.String()...)
	dst = append(dst, '"')
	if !e.IsResponse() {
		dst = appendNumber(dst, `,"dropped":`, e.RequestBytes)
	}
	dst = append(dst, w.tail...)
	dst = strconv.AppendUint(dst, seq, 10)
	return append(dst, w.end...)
}

func (w *lineWriter) appendResponse(dst []byte, row *catalogue.RowName, e *event.Event) []byte {
	dst = appendField(dst, `,"http_request_method":`, e.Method)
	if !w.noPath {
		dst = appendField(dst, `,"url_path":`, e.Path)
	}
	dst = appendField(dst, `,"url_template":`, row.Label)
	dst = appendNumber(dst, `,"http_response_status_code":`, uint64(e.Status))
	dst = appendNumber(dst, `,"duration_us":`, e.DurationMicros)
	dst = appendNumber(dst, `,"ttfb_us":`, e.TTFBMicros)
	if e.RequestMicros > 0 {
		dst = appendNumber(dst, `,"request_us":`, e.RequestMicros)
	}
	if e.WaitMicros > 0 {
		dst = appendNumber(dst, `,"wait_us":`, e.WaitMicros)
	}
	dst = appendNumber(dst, `,"http_request_body_size":`, e.RequestBytes)
	dst = appendNumber(dst, `,"http_response_body_size":`, e.ResponseBytes)
	dst = appendField(dst, `,"server_address":`, e.Host)
	if !w.noUpstream {
		dst = appendField(dst, `,"upstream_address":`, e.Upstream)
	}
	if !w.noProtocol {
		dst = appendField(dst, `,"network_protocol_version":`, e.Protocol)
	}
	if !w.noClient {
		dst = appendField(dst, `,"client_address":`, e.Client)
	}
	if w.traceID {
		dst = appendField(dst, `,"trace_id":`, e.TraceID)
	}
	dst = appendField(dst, `,"request_id":`, e.RequestID)
	dst = appendField(dst, `,"route":`, e.Route)
	if code, ok := e.GRPCStatus.Code(); ok {
		dst = appendNumber(dst, `,"rpc_grpc_status_code":`, uint64(code))
	}
	dst = appendField(dst, `,"tls_protocol_version":`, e.TLSProtocol())
	if attempts := e.Edge().Attempts(); attempts > 0 {
		dst = appendNumber(dst, `,"attempts":`, uint64(attempts))
	}
	// An event can be counted in a row with a different host, method or route: spelled differently, or replaced because of the limits on
	// rows. The line then also contains the row's value, so the row can be found from the archive alone.
	if row.Host != string(e.Host) {
		dst = appendString(append(dst, `,"row_host":`...), row.Host)
	}
	if row.Method != string(e.Method) {
		dst = appendString(append(dst, `,"row_method":`...), row.Method)
	}
	if row.Route != string(e.Route) {
		dst = appendString(append(dst, `,"row_route":`...), row.Route)
	}
	return dst
}

// appendTime appends a time in RFC 3339 with six digits, in UTC. For a time in the same second as the previous one, it reuses the text up
// to the second.
func (w *lineWriter) appendTime(dst []byte, micros int64) []byte {
	second := micros / 1e6
	below := micros % 1e6
	if below < 0 {
		second, below = second-1, below+1e6
	}
	if !w.haveSecond || second != w.second {
		w.stamp = time.Unix(second, 0).UTC().AppendFormat(w.stamp[:0], "2006-01-02T15:04:05.")
		w.second, w.haveSecond = second, true
	}
	dst = append(dst, w.stamp...)
	for div := int64(100000); div > 0; div /= 10 {
		dst = append(dst, byte('0'+below/div%10))
	}
	return append(dst, 'Z')
}

func appendUUID(dst []byte, id uuid.UUID) []byte {
	dst = hex.AppendEncode(dst, id[:4])
	dst = hex.AppendEncode(append(dst, '-'), id[4:6])
	dst = hex.AppendEncode(append(dst, '-'), id[6:8])
	dst = hex.AppendEncode(append(dst, '-'), id[8:10])
	return hex.AppendEncode(append(dst, '-'), id[10:])
}

func appendNumber(dst []byte, name string, v uint64) []byte {
	return strconv.AppendUint(append(dst, name...), v, 10)
}

func appendField[T []byte | string](dst []byte, name string, v T) []byte {
	if len(v) == 0 {
		return dst
	}
	return appendString(append(dst, name...), v)
}

const hexDigits = "0123456789abcdef"

// plain marks the bytes that need no escape in a JSON string.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendString appends v as a JSON string. Since JSON cannot represent bytes that are not valid UTF-8, such bytes become %XX, as in a
// URL.
func appendString[T []byte | string](dst []byte, v T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(v); {
		c := v[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := decodeRune(v[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, v[start:i]...)
		dst = appendEscaped(dst, c)
		i++
		start = i
	}
	dst = append(dst, v[start:]...)
	return append(dst, '"')
}

func appendEscaped(dst []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c == '\n':
		return append(dst, '\\', 'n')
	case c == '\r':
		return append(dst, '\\', 'r')
	case c == '\t':
		return append(dst, '\\', 't')
	case c < ' ':
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
	return append(dst, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
}

func decodeRune[T []byte | string](v T) (rune, int) {
	// The longest UTF-8 sequence has four bytes. Copying them avoids a conversion that would allocate memory.
	var head [utf8.UTFMax]byte
	n := copy(head[:], v)
	return utf8.DecodeRune(head[:n])
}
