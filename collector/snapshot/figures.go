package snapshot

import (
	"strconv"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// Figures are the statistics of a row, of a point in a series, or of a total.
type Figures struct {
	Count   uint64            `json:"count"`
	Rate    float64           `json:"rate"`    // Count ÷ Seconds; 0 if Seconds is 0
	Seconds float64           `json:"seconds"` // length of the time that the figures cover, see Coverage
	Errors  uint64            `json:"errors"`  // with status 500 or above, an error type, or a gRPC status that means a server error
	Streams uint64            `json:"streams"` // long-lived responses among Count; their latency is the time to the first byte
	Status  map[string]uint64 `json:"status"`  // by code; "0" is for codes above 999
	// ErrorTypes counts the errors by kind, such as connect_refused. It is absent if there are none.
	ErrorTypes map[string]uint64 `json:"error_types,omitempty"`
	// GRPC counts gRPC calls by status code; "17" stands for codes that gRPC does not define. It is absent if there are
	// no such calls.
	GRPC map[string]uint64 `json:"grpc,omitempty"`
	// Dropped has, by reason, the number of responses in this time that could not be recorded. These responses are not included in the
	// other counts and belong to no path, so only totals and series over all paths have this field.
	Dropped  map[string]uint64 `json:"dropped,omitempty"`
	BytesIn  uint64            `json:"bytes_in"`
	BytesOut uint64            `json:"bytes_out"`
	Latency  Latency           `json:"latency_us"`
}

// Latency is in microseconds. Percentiles come from merged sketches, are accurate to 1.1 %, and are then rounded to
// whole microseconds.
type Latency struct {
	P50  uint64 `json:"p50"`
	P90  uint64 `json:"p90"`
	P95  uint64 `json:"p95"`
	P99  uint64 `json:"p99"`
	P999 uint64 `json:"p999"`
	Max  uint64 `json:"max"`
	Mean uint64 `json:"mean"`
}

// Row is one line of the tables in snapshots and in responses to queries.
type Row struct {
	Host   string `json:"host"`
	Method string `json:"method"`
	Path   string `json:"path"`            // template, or "(other)"
	Route  string `json:"route,omitempty"` // configured route, or "(other)"
	Figures
}

// RowOf returns the line for the row with the name k.
func RowOf(k stats.Key, r *stats.Row, seconds float64) Row {
	return Row{Host: k.Host, Method: k.Method, Path: k.Label, Route: k.Route, Figures: FiguresOf(r, seconds)}
}

// FiguresOf returns the figures of a row of statistics that covers the given number of seconds.
func FiguresOf(r *stats.Row, seconds float64) Figures {
	var p [5]uint64
	r.Quantiles(p[:], 0.50, 0.90, 0.95, 0.99, 0.999)
	f := Figures{
		Seconds: seconds, Count: r.Count, Errors: r.Errors, Streams: r.Streams, BytesIn: r.BytesIn, BytesOut: r.BytesOut,
		Status: make(map[string]uint64, len(r.Status)),
		Latency: Latency{
			P50: p[0], P90: p[1], P95: p[2], P99: p[3], P999: p[4], Max: r.MaxMicros, Mean: r.Mean(),
		},
	}
	if seconds > 0 {
		f.Rate = float64(r.Count) / seconds
	}
	for _, s := range r.Status {
		f.Status[strconv.Itoa(int(s.Code))] += s.Count
	}
	if len(r.ErrorTypes) > 0 {
		f.ErrorTypes = make(map[string]uint64, len(r.ErrorTypes))
	}
	for _, t := range r.ErrorTypes {
		f.ErrorTypes[t.Type] += t.Count
	}
	if len(r.GRPC) > 0 {
		f.GRPC = make(map[string]uint64, len(r.GRPC))
	}
	for _, g := range r.GRPC {
		f.GRPC[strconv.Itoa(int(g.Code))] += g.Count
	}
	return f
}
