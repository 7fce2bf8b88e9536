package uploader

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// StatsPrefix is what the keys of all statistics objects begin with.
const StatsPrefix = "v1/stats/dt="

// StatsKey is the key of the statistics object that belongs to an event object.
func StatsKey(key string) string { return StatsPrefix + strings.TrimPrefix(key, EventsPrefix) }

// EventsKey is the key of the event object that a statistics object was made from.
func EventsKey(statsKey string) string {
	return EventsPrefix + strings.TrimPrefix(statsKey, StatsPrefix)
}

// fold adds up the statistics of the events of one plan: the same fold as the store's, over exactly these events, so that
// the sum over all plans is what the store counted. Not for concurrent use.
type fold struct {
	rows map[catalogue.RowName]*stats.Row
}

func (f *fold) reset() { f.rows = map[catalogue.RowName]*stats.Row{} }

// add counts one event. The name's strings are copied when they are kept.
func (f *fold) add(name *catalogue.RowName, e *event.Event) {
	if !e.IsResponse() {
		return
	}
	row := f.rows[*name]
	if row == nil {
		row = &stats.Row{}
		kept := catalogue.RowName{Host: strings.Clone(name.Host), Method: strings.Clone(name.Method), Label: strings.Clone(name.Label)}
		f.rows[kept] = row
	}
	row.Add(e)
}

// names are the rows in the order in which they are written.
func (f *fold) names() []catalogue.RowName {
	names := make([]catalogue.RowName, 0, len(f.rows))
	for n := range f.rows {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b catalogue.RowName) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Label, b.Label))
	})
	return names
}

// buildStats writes the statistics object of the plan whose events were built last into b.body.
func (b *builder) buildStats(ctx context.Context, p *catalogue.Plan) (*built, error) {
	b.body.reset()
	b.body.again = func(w io.Writer) error {
		again := newObjectWriter()
		_, err := again.statistics(ctx, w, p, &b.fold)
		return err
	}
	return b.statistics(ctx, b.body, p, &b.fold)
}

// statistics writes the rows of f as the statistics object of a plan.
func (b *objectWriter) statistics(ctx context.Context, w io.Writer, p *catalogue.Plan, f *fold) (*built, error) {
	out, raw := &built{}, sha256.New()
	object := &countingHash{w: w, h: sha256.New()}
	if err := b.start(object); err != nil {
		return nil, err
	}
	b.line = b.line[:0]
	lines := newStatsWriter(p)
	for _, name := range f.names() {
		row := f.rows[name]
		b.line = lines.appendRow(b.line, &name, row)
		out.lines++
		out.rows += row.Count
		if len(b.line) >= flushBytes {
			if err := b.flush(ctx, out, raw); err != nil {
				return nil, err
			}
		}
	}
	err := b.flush(ctx, out, raw)
	if err == nil {
		err = b.zip.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("write statistics of %s: %w", p.Key, err)
	}
	if out.rows != p.Rows {
		return nil, fmt.Errorf("%w: statistics of %d responses instead of %d for %s", ErrSource, out.rows, p.Rows, p.Key)
	}
	out.rawSHA256 = hex.EncodeToString(raw.Sum(nil))
	out.objectBytes, out.objectSHA256 = object.n, hex.EncodeToString(object.h.Sum(nil))
	return out, nil
}

// statsWriter renders rows of statistics.
type statsWriter struct{ head, tail []byte }

func newStatsWriter(p *catalogue.Plan) *statsWriter {
	w := &statsWriter{}
	w.head = append(w.head, `{"hour":"`...)
	w.head = time.Unix(p.Hour*3600, 0).UTC().AppendFormat(w.head, time.RFC3339)
	w.head = append(w.head, '"')
	w.tail = appendString(append(w.tail, `,"service":`...), p.Service)
	w.tail = appendString(append(w.tail, `,"instance":`...), p.Instance)
	w.tail = append(w.tail, `,"epoch":"`...)
	w.tail = append(w.tail, p.Epoch.String()...)
	w.tail = append(w.tail, `","schema_version":`...)
	w.tail = strconv.AppendInt(w.tail, SchemaVersion, 10)
	w.tail = append(w.tail, "}\n"...)
	return w
}

// appendRow appends one row with its line feed. The order of fields is part of the format.
func (w *statsWriter) appendRow(dst []byte, name *catalogue.RowName, r *stats.Row) []byte {
	dst = append(dst, w.head...)
	dst = appendString(append(dst, `,"server_address":`...), name.Host)
	dst = appendString(append(dst, `,"http_request_method":`...), name.Method)
	dst = appendString(append(dst, `,"url_template":`...), name.Label)
	dst = appendNumber(dst, `,"count":`, r.Count)
	dst = appendNumber(dst, `,"errors":`, r.Errors)
	dst = appendNumber(dst, `,"streams":`, r.Streams)
	dst = appendNumber(dst, `,"bytes_in":`, r.BytesIn)
	dst = appendNumber(dst, `,"bytes_out":`, r.BytesOut)
	dst = appendNumber(dst, `,"latency_us_sum":`, r.SumMicros)
	dst = appendNumber(dst, `,"latency_us_max":`, r.MaxMicros)
	dst = append(dst, `,"status":[`...)
	for i, s := range r.Status {
		dst = appendNumber(comma(dst, i), `{"code":`, uint64(s.Code))
		dst = append(appendNumber(dst, `,"count":`, s.Count), '}')
	}
	dst = append(dst, `],"error_types":[`...)
	for i, t := range r.ErrorTypes {
		dst = appendString(append(comma(dst, i), `{"type":`...), t.Type)
		dst = append(appendNumber(dst, `,"count":`, t.Count), '}')
	}
	dst = appendNumber(dst, `],"latency_below_1us":`, r.Latency.Zeros())
	dst = append(dst, `,"latency_bins":[`...)
	i := 0
	r.Latency.Bins(func(bin int, count uint64) {
		dst = appendNumber(comma(dst, i), `{"bin":`, uint64(bin)) //nolint:gosec // not negative
		dst = append(appendNumber(dst, `,"count":`, count), '}')
		i++
	})
	return append(append(dst, ']'), w.tail...)
}

func comma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// StatsLine is one line of a statistics object, decoded.
type StatsLine struct {
	Hour      time.Time `json:"hour"`
	Host      string    `json:"server_address"`
	Method    string    `json:"http_request_method"`
	Template  string    `json:"url_template"`
	Count     uint64    `json:"count"`
	Errors    uint64    `json:"errors"`
	Streams   uint64    `json:"streams"`
	BytesIn   uint64    `json:"bytes_in"`
	BytesOut  uint64    `json:"bytes_out"`
	SumMicros uint64    `json:"latency_us_sum"`
	MaxMicros uint64    `json:"latency_us_max"`
	Status    []struct {
		Code  uint16 `json:"code"`
		Count uint64 `json:"count"`
	} `json:"status"`
	ErrorTypes []struct {
		Type  string `json:"type"`
		Count uint64 `json:"count"`
	} `json:"error_types"`
	Below1us uint64 `json:"latency_below_1us"`
	Bins     []struct {
		Bin   int    `json:"bin"`
		Count uint64 `json:"count"`
	} `json:"latency_bins"`
	Service  string    `json:"service"`
	Instance string    `json:"instance"`
	Epoch    uuid.UUID `json:"epoch"`
	Schema   int       `json:"schema_version"`
}

// ParseStats reads one line of a statistics object into a row. It refuses a newer schema, and rows whose parts do not add
// up.
func ParseStats(text []byte) (stats.Key, *stats.Row, error) {
	key, row, _, err := parseStats(text)
	return key, row, err
}

func parseStats(text []byte) (stats.Key, *stats.Row, uuid.UUID, error) {
	var l StatsLine
	if err := json.Unmarshal(text, &l); err != nil { // also refuses what follows the object
		return stats.Key{}, nil, l.Epoch, damagedf("statistics line: %w", err)
	}
	if err := CheckSchema("statistics line", l.Schema); err != nil {
		return stats.Key{}, nil, l.Epoch, err
	}
	if l.Schema < 1 {
		return stats.Key{}, nil, l.Epoch, damagedf("statistics line: schema_version %d", l.Schema)
	}
	key := stats.Key{Hour: l.Hour.Unix() / 3600, Host: l.Host, Method: l.Method, Label: l.Template}
	r := &stats.Row{
		Count: l.Count, Errors: l.Errors, Streams: l.Streams, BytesIn: l.BytesIn, BytesOut: l.BytesOut,
		SumMicros: l.SumMicros, MaxMicros: l.MaxMicros,
	}
	for _, s := range l.Status {
		r.Status = append(r.Status, stats.StatusCount{Code: s.Code, Count: s.Count})
	}
	for _, t := range l.ErrorTypes {
		r.ErrorTypes = append(r.ErrorTypes, stats.TypeCount{Type: t.Type, Count: t.Count})
	}
	r.Latency.AddBelow(l.Below1us)
	for _, b := range l.Bins {
		if err := r.Latency.AddBin(b.Bin, b.Count); err != nil {
			return key, nil, l.Epoch, damagedf("statistics line: %w", err)
		}
	}
	// The row's own decoder knows what adds up.
	encoded, _ := r.AppendBinary(nil) // its error is always nil
	if err := r.Decode(encoded); err != nil {
		return key, nil, l.Epoch, damagedf("statistics line: %w", err)
	}
	return key, r, l.Epoch, nil
}
