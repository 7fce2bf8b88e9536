package api

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// Figures are the statistics of a row, a point in time or a total.
type Figures struct {
	Count   uint64            `json:"count"`
	Rate    float64           `json:"rate"`    // Count ÷ Seconds; 0 where that is 0
	Seconds float64           `json:"seconds"` // of the time that is covered: see coverage
	Errors  uint64            `json:"errors"`  // status 500 and above, or an error type
	Streams uint64            `json:"streams"` // long-lived responses among Count; their latency is the time to the first byte
	Status  map[string]uint64 `json:"status"`  // by code; "0" stands for codes above 999
	// ErrorTypes are the errors by kind, such as connect_refused; absent where there were none.
	ErrorTypes map[string]uint64 `json:"error_types,omitempty"`
	// Dropped are the responses of this time that are in none of the counts, by the reason for which they could not be recorded. They
	// belong to no path: only totals and points of everything have them; absent where there were none.
	Dropped  map[string]uint64 `json:"dropped,omitempty"`
	BytesIn  uint64            `json:"bytes_in"`
	BytesOut uint64            `json:"bytes_out"`
	Latency  Latency           `json:"latency_us"`
}

// Latency is in microseconds. Percentiles come from merged sketches, are within 1.1 %, and are then rounded to whole microseconds.
type Latency struct {
	P50  uint64 `json:"p50"`
	P90  uint64 `json:"p90"`
	P95  uint64 `json:"p95"`
	P99  uint64 `json:"p99"`
	P999 uint64 `json:"p999"`
	Max  uint64 `json:"max"`
	Mean uint64 `json:"mean"`
}

// Row is one line of the tables that snapshot and queries show.
type Row struct {
	Host   string `json:"host"`
	Method string `json:"method"`
	Path   string `json:"path"` // template, or "(other)"
	Figures
}

// figuresOf reads a row of statistics that covers the given number of seconds.
func figuresOf(r *stats.Row, seconds float64) Figures {
	f := Figures{
		Seconds: seconds, Count: r.Count, Errors: r.Errors, Streams: r.Streams, BytesIn: r.BytesIn, BytesOut: r.BytesOut,
		Status: make(map[string]uint64, len(r.Status)),
		Latency: Latency{
			P50: r.Quantile(0.50), P90: r.Quantile(0.90), P95: r.Quantile(0.95), P99: r.Quantile(0.99),
			P999: r.Quantile(0.999),
			Max:  r.MaxMicros, Mean: r.Mean(),
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
	return f
}

// coverage is the time of which there are figures: from when the books began until now. A range that reaches beyond it, such as the
// present hour, is covered only that far, and its rates are over what is covered.
type coverage struct{ began, now time.Time }

// beganSource is a RowSource that knows since when there are rows; the store is one.
type beganSource interface{ Began() time.Time }

func coverageOf(source RowSource, now time.Time) coverage {
	c := coverage{now: now}
	if s, ok := source.(beganSource); ok {
		c.began = s.Began()
	}
	return c
}

// within is the part of a range that is covered; from is not before to.
func (c coverage) within(h hours) (from, to time.Time) {
	from, to = hourTime(h.from), hourTime(h.to)
	if c.began.After(from) {
		from = c.began
	}
	if c.now.Before(to) {
		to = c.now
	}
	if to.Before(from) {
		to = from
	}
	return from, to
}

// seconds is the length of the part of a range that is covered, to the microsecond.
func (c coverage) seconds(h hours) float64 {
	from, to := c.within(h)
	return float64(to.UnixMicro()-from.UnixMicro()) / 1e6
}

// name identifies a row within an hour or a range.
type name struct {
	host, method, label string
}

func (n name) isOther() bool { return n.label == paths.Other }

// compare orders names so that equal figures are always listed alike.
func (n name) compare(o name) int {
	return cmp.Or(strings.Compare(n.label, o.label), strings.Compare(n.host, o.host), strings.Compare(n.method, o.method))
}
