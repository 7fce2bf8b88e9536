package live

import (
	"math"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/internal/event"
)

// seriesMax is the number of (method, status) pairs per route that are told apart; an upstream cannot make more.
const seriesMax = 64

// buckets are upper bounds in microseconds: those that OpenTelemetry's semantic conventions advise for
// http.server.request.duration begin at 5 ms, which says nothing of a fast service. Below that there are five more; of theirs, 75 ms,
// 750 ms and 7.5 s are left out, because each bound is a series for every route, method and status.
var buckets = [...]uint64{100, 250, 500, 1e3, 2.5e3, 5e3, 10e3, 25e3, 50e3, 100e3, 250e3, 500e3, 1e6, 2.5e6, 5e6, 10e6}

// route is one label with its histograms.
type route struct {
	label  string
	seen   int64 // seconds since 1970, by the clock of the collector
	series []*histogram
}

// histogram counts the latencies of one route, method and status.
type histogram struct {
	method    string
	status    uint16 // 0: beyond seriesMax
	counts    [len(buckets) + 1]uint64
	sumMicros uint64
}

func (h *histogram) observe(micros uint64) {
	i := 0
	for i < len(buckets) && micros > buckets[i] {
		i++
	}
	h.counts[i]++
	h.sumMicros += micros
}

// settle gives a row that is counted under the route of the others a route of its own once there is a reason and room.
// The reason is an answer other than 404: what scanners ask for takes no place from what exists. Room is a free place, or
// that of a route nobody has asked for in an hour.
func (f *Feed) settle(r *row, label string, e *event.Event, now int64) {
	if r == f.rest || label == Other {
		return
	}
	own := f.routes[label]
	if own == nil && e.Status != 404 && f.makeRoom(now) {
		own = &route{label: label}
		f.routes[label] = own
	}
	if own != nil {
		r.route, r.series = own, nil
	}
}

// makeRoom reports whether one more route may be kept, giving up the one that has been idle longest if it must.
func (f *Feed) makeRoom(now int64) bool {
	if len(f.routes)-1 < f.o.RoutesMax {
		return true
	}
	var idle *route
	for _, r := range f.routes {
		if r.label != Other && (idle == nil || r.seen < idle.seen) {
			idle = r
		}
	}
	if idle == nil || now-idle.seen < int64(idleMax.Seconds()) {
		return false
	}
	delete(f.routes, idle.label)
	for _, r := range f.rows {
		if r.route == idle {
			r.route, r.series = f.routes[Other], nil
		}
	}
	return true
}

// histogram finds the row's histogram for a status.
func (r *row) histogram(status uint16) *histogram {
	for _, h := range r.series {
		if h.status == status {
			return h
		}
	}
	h := r.route.histogram(r.method, status)
	if h.status == status { // the one beyond seriesMax would hide a later status
		r.series = append(r.series, h)
	}
	return h
}

func (r *route) histogram(method string, status uint16) *histogram {
	for _, h := range r.series {
		if h.method == method && h.status == status {
			return h
		}
	}
	if len(r.series) >= seriesMax && (method != "_OTHER" || status != 0) {
		return r.histogram("_OTHER", 0)
	}
	h := &histogram{method: method, status: status}
	r.series = append(r.series, h)
	return h
}

var descDuration = prometheus.NewDesc("http_server_request_duration_seconds",
	"Time from the request's first byte to the upstream until the response's last (streams: its first), by route template.",
	[]string{"http_request_method", "http_route", "http_response_status_code"}, nil)

// Describe sends the one metric.
func (f *Feed) Describe(out chan<- *prometheus.Desc) { out <- descDuration }

// Collect sends a histogram for each route, method and status since this process began.
func (f *Feed) Collect(out chan<- prometheus.Metric) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.routes {
		for _, h := range r.series {
			out <- h.metric(r.label)
		}
	}
}

func (h *histogram) metric(label string) prometheus.Metric {
	cumulative := make(map[float64]uint64, len(buckets))
	var count uint64
	for i, n := range h.counts {
		count += n
		if i < len(buckets) {
			cumulative[float64(buckets[i])/microsInSec] = count
		}
	}
	status := "_OTHER"
	if h.status != 0 {
		status = strconv.Itoa(int(h.status))
	}
	sum := math.Round(float64(h.sumMicros)) / microsInSec
	return prometheus.MustNewConstHistogram(descDuration, count, sum, cumulative, h.method, label, status)
}
