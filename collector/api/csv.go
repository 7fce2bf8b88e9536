package api

import (
	"bytes"
	"encoding/csv"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/internal/event"
)

// tabular is a response that can also be written as comma-separated values (RFC 4180).
type tabular interface {
	// table calls line with the names of the columns, and then once for each row with the row's fields.
	table(line func(...string))
}

// wantsCSV reports whether the Accept header names text/csv before JSON.
func wantsCSV(r *http.Request) bool {
	for _, field := range r.Header.Values("Accept") {
		for accepted := range strings.SplitSeq(field, ",") {
			kind, _, _ := strings.Cut(accepted, ";")
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "text/csv":
				return true
			case "application/json", "*/*":
				return false
			}
		}
	}
	return false
}

// writeCSV writes a table. It cannot fail, because it writes to memory.
func writeCSV(to *bytes.Buffer, t tabular) {
	out := csv.NewWriter(to)
	out.UseCRLF = true
	t.table(func(fields ...string) {
		for i, f := range fields {
			fields[i] = escapeFormula(f)
		}
		_ = out.Write(fields)
	})
	out.Flush()
}

// escapeFormula puts an apostrophe before a field that begins like a formula. Otherwise, a spreadsheet could execute text chosen by an
// attacker.
func escapeFormula(field string) string {
	if field != "" && strings.ContainsRune("=+-@\t\r", rune(field[0])) {
		return "'" + field
	}
	return field
}

// figureColumns are the columns that every table has for its figures.
var figureColumns = []string{
	"count", "rate", "errors", "streams", "1xx", "2xx", "3xx", "4xx", "5xx", "other_status", "bytes_in", "bytes_out",
	"p50_us", "p90_us", "p95_us", "p99_us", "p999_us", "max_us", "mean_us", "seconds", "grpc_calls", "grpc_errors",
}

// figureFields returns the values of the figureColumns.
func figureFields(f *snapshot.Figures) []string {
	classes := [6]uint64{} // by the first digit; 0 is for all codes outside the five classes
	for code, n := range f.Status {
		class := 0
		if len(code) == 3 && code[0] >= '1' && code[0] <= '5' {
			class = int(code[0] - '0')
		}
		classes[class] += n
	}
	out := make([]string, 0, len(figureColumns))
	out = append(out, whole(f.Count), decimal(f.Rate))
	for _, v := range [...]uint64{
		f.Errors, f.Streams, classes[1], classes[2], classes[3], classes[4], classes[5], classes[0], f.BytesIn, f.BytesOut, f.Latency.P50,
		f.Latency.P90, f.Latency.P95, f.Latency.P99, f.Latency.P999, f.Latency.Max, f.Latency.Mean,
	} {
		out = append(out, whole(v))
	}
	calls, failed := grpcCounts(f.GRPC)
	return append(out, decimal(f.Seconds), whole(calls), whole(failed))
}

// grpcCounts returns the number of gRPC calls with a status, and the number of those whose status is a server error.
func grpcCounts(byCode map[string]uint64) (calls, failed uint64) {
	for text, n := range byCode {
		calls += n
		if code, known := event.GRPCCode(text); known && event.GRPCOf(code).IsError() {
			failed += n
		}
	}
	return calls, failed
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func whole(n uint64) string { return strconv.FormatUint(n, 10) }

func (a pathsAnswer) table(line func(...string)) {
	head := append([]string{"host", "method", "path"}, figureColumns...)
	if a.Before != nil {
		for _, c := range figureColumns {
			head = append(head, "before_"+c)
		}
	}
	head = append(head, "route")
	line(head...)
	for i := range a.Paths {
		row := &a.Paths[i]
		fields := append([]string{row.Host, row.Method, row.Path}, figureFields(&row.Figures)...)
		if row.Before != nil {
			fields = append(fields, figureFields(row.Before)...)
		}
		line(append(fields, row.Route)...)
	}
}

func (a seriesAnswer) table(line func(...string)) {
	line(append([]string{"time"}, figureColumns...)...)
	for i := range a.Points {
		line(append([]string{a.Points[i].Time.Format(time.RFC3339)}, figureFields(&a.Points[i].Figures)...)...)
	}
}

func (a eventsAnswer) table(line func(...string)) {
	line("event_id", "ts", "http_request_method", "url_path", "url_template", "http_response_status_code", "duration_us",
		"ttfb_us", "http_request_body_size", "http_response_body_size", "server_address", "upstream_address",
		"network_protocol_version", "client_address", "trace_id", "error_type", "kind", "epoch", "seq", "request_id", "request_us", "wait_us",
		"route", "rpc_grpc_status_code", "tls_protocol_version", "attempts")
	for i := range a.Events {
		e := &a.Events[i]
		grpc, attempts := "", ""
		if e.GRPC != nil {
			grpc = strconv.Itoa(*e.GRPC)
		}
		if e.Attempts > 0 {
			attempts = strconv.Itoa(int(e.Attempts))
		}
		line(e.ID.String(), e.Time, e.Method, e.Path, e.Template, strconv.Itoa(int(e.Status)), whole(e.Duration),
			whole(e.TTFB), whole(e.BytesIn), whole(e.BytesOut), e.Host, e.Upstream, e.Protocol, e.Client, e.TraceID,
			e.ErrorType, e.Kind, e.Epoch.String(), whole(e.Seq), e.RequestID, whole(e.Request), whole(e.Wait),
			e.Route, grpc, e.TLS, attempts)
	}
}
