package uploader

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// fold adds up the statistics of the events of one plan. It counts in the same way as the store, so the sum over all plans equals the
// counts of the store. It keeps its rows for the next plan, because most rows of that plan are the same. It is not safe for concurrent
// use.
type fold struct {
	rows   map[catalogue.RowName]*foldRow
	sorted []*foldRow // rows that have responses, in the order in which they are written
	stale  bool       // whether sorted lacks rows
	drops  stats.Drops
}

type foldRow struct {
	name catalogue.RowName
	row  stats.Row
}

// foldRowsKept is the maximum number of rows that are kept for the next plan.
const foldRowsKept = 2048

func (f *fold) reset() {
	if f.rows == nil || len(f.rows) > foldRowsKept {
		*f = fold{rows: map[catalogue.RowName]*foldRow{}, drops: stats.Drops{}}
		return
	}
	clear(f.drops)
	for _, r := range f.rows {
		r.row.Reset()
	}
}

// add counts one event. It copies those strings of the name that it keeps.
func (f *fold) add(seq uint64, name *catalogue.RowName, e *event.Event) {
	if !e.IsResponse() {
		f.drops.Note(string(e.ErrorType), stats.Drop{Seq: seq, Responses: e.RequestBytes})
		return
	}
	r := f.rows[*name]
	if r == nil {
		r = &foldRow{name: name.Clone()}
		f.rows[r.name] = r
		f.stale = true
	}
	r.row.Add(e)
}

// each calls fn with the rows that have responses, in the order in which they are written.
func (f *fold) each(fn func(*foldRow) error) error {
	if f.stale {
		f.sorted = slices.SortedFunc(maps.Values(f.rows), func(x, y *foldRow) int {
			a, b := &x.name, &y.name
			return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Label, b.Label),
				cmp.Compare(a.Route, b.Route))
		})
		f.stale = false
	}
	for _, r := range f.sorted {
		if r.row.Count == 0 {
			continue
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// responding returns the number of rows that have responses.
func (f *fold) responding() int {
	n := 0
	for _, r := range f.rows {
		if r.row.Count > 0 {
			n++
		}
	}
	return n
}

// buildStatistics writes the statistics object for the most recently built events into b.body.
func (b *builder) buildStatistics(ctx context.Context, p *catalogue.Plan) (*built, error) {
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
	if err := b.start(w); err != nil {
		return nil, err
	}
	lines := newStatsWriter(p, f)
	write := func(r *foldRow) error {
		b.line = lines.appendRow(b.line, &r.name, &r.row)
		b.out.lines++
		b.out.rows += r.row.Count
		return b.flushFull(ctx)
	}
	err := f.each(write)
	if err == nil && b.out.lines == 0 && lines.first != nil {
		err = write(&foldRow{})
	}
	if err != nil {
		return nil, err
	}
	out, err := b.finish(ctx)
	if err != nil {
		return nil, fmt.Errorf("write statistics of %s: %w", p.Key, err)
	}
	if out.rows != p.Rows {
		return nil, fmt.Errorf("%w: statistics of %d responses instead of %d for %s", ErrSource, out.rows, p.Rows, p.Key)
	}
	return out, nil
}

// statsWriter writes rows of statistics as lines.
type statsWriter struct {
	head, tail []byte
	first      []byte // only for the first line: the description of the object
}

func newStatsWriter(p *catalogue.Plan, f *fold) *statsWriter {
	w := &statsWriter{}
	if slices.Contains(p.Fields, fieldObject) {
		w.first = appendObject(nil, p, f)
	}
	w.head = append(w.head, `{"hour":"`...)
	w.head = stats.HourStart(p.Hour).AppendFormat(w.head, time.RFC3339)
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

// appendRow appends one row with a line feed. The order of the fields is part of the format.
func (w *statsWriter) appendRow(dst []byte, name *catalogue.RowName, r *stats.Row) []byte {
	dst = append(dst, w.head...)
	dst = appendString(append(dst, `,"server_address":`...), name.Host)
	dst = appendString(append(dst, `,"http_request_method":`...), name.Method)
	dst = appendString(append(dst, `,"url_template":`...), name.Label)
	dst = appendField(dst, `,"route":`, name.Route)
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
	if len(r.GRPC) > 0 {
		dst = appendCalls(append(dst, `],"grpc":[`...), r.GRPC)
	}
	dst = appendNumber(dst, `],"latency_below_1us":`, r.Latency.Zeros())
	dst = append(dst, `,"latency_bins":[`...)
	i := 0
	r.Latency.Bins(func(bin int, count uint64) {
		dst = appendNumber(comma(dst, i), `{"bin":`, uint64(bin))
		dst = append(appendNumber(dst, `,"count":`, count), '}')
		i++
	})
	dst = append(append(dst, ']'), w.first...)
	w.first = nil
	return append(dst, w.tail...)
}

func appendCalls(dst []byte, calls []stats.GRPCCount) []byte {
	for i, g := range calls {
		dst = appendNumber(comma(dst, i), `{"code":`, uint64(g.Code))
		dst = append(appendNumber(dst, `,"count":`, g.Count), '}')
	}
	return dst
}

func comma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// statsLine is one line of a statistics object, decoded.
type statsLine struct {
	Hour      time.Time `json:"hour"`
	Host      string    `json:"server_address"`
	Method    string    `json:"http_request_method"`
	Template  string    `json:"url_template"`
	Route     string    `json:"route"`
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
	GRPC []struct {
		Code  uint8  `json:"code"`
		Count uint64 `json:"count"`
	} `json:"grpc"`
	Below1us uint64 `json:"latency_below_1us"`
	Bins     []struct {
		Bin   int    `json:"bin"`
		Count uint64 `json:"count"`
	} `json:"latency_bins"`
	Object   *statsObject `json:"object"`
	Service  string       `json:"service"`
	Instance string       `json:"instance"`
	Epoch    uuid.UUID    `json:"epoch"`
	Schema   int          `json:"schema_version"`
}

// parseStatistics parses one line of a statistics object into l. hour and epoch are those of the object. It rejects a
// newer schema, and rows whose parts do not add up. The error wraps [ErrDamaged] or [ErrNewerFormat].
func parseStatistics(text []byte, l *statsLine, hour int64, epoch uuid.UUID) (key stats.Key, r *stats.Row, err error) {
	*l = statsLine{}
	if err := json.Unmarshal(text, l); err != nil { // this also rejects text after the object
		return key, nil, Damagedf("statistics line: %w", err)
	}
	if err := checkSchema("statistics line", l.Schema); err != nil {
		return key, nil, err
	}
	key = stats.Key{Hour: stats.HourOf(l.Hour), Host: l.Host, Method: l.Method, Label: l.Template, Route: l.Route}
	switch {
	case l.Schema < 1:
		return key, nil, Damagedf("statistics line: schema_version %d", l.Schema)
	case key.Hour != hour:
		return key, nil, Damagedf("statistics of hour %d in an object of hour %d", key.Hour, hour)
	case l.Epoch != epoch:
		return key, nil, Damagedf("statistics of epoch %s", l.Epoch)
	case len(key.Host) > rowTextMax || len(key.Method) > rowTextMax || len(key.Label) > rowTextMax || len(key.Route) > rowTextMax:
		return key, nil, Damagedf("statistics of a row with a name of %d bytes", len(key.Host)+len(key.Method)+len(key.Label)+len(key.Route))
	case l.MaxMicros > figureMax || l.BytesIn/figureMax > l.Count || l.BytesOut/figureMax > l.Count || l.SumMicros/figureMax > l.Count:
		return key, nil, Damagedf("statistics with at most %d µs, and in total %d µs, %d and %d bytes, for %d responses",
			l.MaxMicros, l.SumMicros, l.BytesIn, l.BytesOut, l.Count)
	}
	r = &stats.Row{
		Count: l.Count, Errors: l.Errors, Streams: l.Streams, BytesIn: l.BytesIn, BytesOut: l.BytesOut,
		SumMicros: l.SumMicros, MaxMicros: l.MaxMicros,
	}
	for _, s := range l.Status {
		r.Status = append(r.Status, stats.StatusCount{Code: s.Code, Count: s.Count})
	}
	for _, t := range l.ErrorTypes {
		r.ErrorTypes = append(r.ErrorTypes, stats.TypeCount{Type: t.Type, Count: t.Count})
	}
	for _, g := range l.GRPC {
		r.GRPC = append(r.GRPC, stats.GRPCCount{Code: g.Code, Count: g.Count})
	}
	r.Latency.AddBelow(l.Below1us)
	for _, b := range l.Bins {
		if err := r.Latency.AddBin(b.Bin, b.Count); err != nil {
			return key, nil, Damagedf("statistics line: %w", err)
		}
	}
	encoded, _ := r.AppendBinary(nil)         // its error is always nil
	if err := r.Decode(encoded); err != nil { // this checks that the parts add up
		return key, nil, Damagedf("statistics line: %w", err)
	}
	return key, r, nil
}
