package live

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/internal/event"
)

// seriesMax is the maximum number of histograms of one route. Without this limit, an upstream that returns many different statuses could
// create any number of them.
const seriesMax = 64

// buckets are upper bounds in microseconds. The bounds that OpenTelemetry's semantic conventions recommend for
// http.server.request.duration begin at 5 ms, which is too coarse for a fast service, so five bounds below 5 ms are added. 75 ms, 750 ms
// and 7.5 s are omitted, because each bound adds a series for every route, method and status.
var buckets = [...]uint64{100, 250, 500, 1e3, 2.5e3, 5e3, 10e3, 25e3, 50e3, 100e3, 250e3, 500e3, 1e6, 2.5e6, 5e6, 10e6}

// route is one label with its histograms.
type route struct {
	label  string
	seen   int64 // time of the last event in seconds since 1970, by the clock of the collector
	series []*histogram
	calls  *calls // nil without gRPC calls
}

// histogram counts the latencies of one route, method and status.
type histogram struct {
	method    string
	status    uint16 // 0: all statuses beyond seriesMax
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

// assignRoute gives a row that has the route Other its own route if a route can be added. A response for a path that does not exist adds
// no route, so scanners cannot displace existing routes. If there are already RoutesMax routes, one that has been idle for an hour is
// removed.
func (f *Feed) assignRoute(r *row, label string, notFound bool, now int64) {
	if r == f.other || label == Other {
		return
	}
	own := f.routes[label]
	if own == nil && !notFound && f.makeRoom(now) {
		own = &route{label: label}
		f.routes[label] = own
	}
	if own != nil {
		r.route, r.series = own, nil
	}
}

// notFound reports whether the server has no such path or gRPC method.
func notFound(e *event.Event) bool {
	const unimplemented = 12
	return e.Status == 404 || e.GRPCStatus == event.GRPCOf(unimplemented)
}

// makeRoom reports whether one more route can be added. If necessary, it first removes the route that has been idle longest. It is called
// for every event of a row without its own route, so it searches the routes only when one of them may have been idle long enough.
func (f *Feed) makeRoom(now int64) bool {
	if len(f.routes)-1 < f.o.RoutesMax {
		return true
	}
	if now < f.fullUntil {
		return false
	}
	var idle *route
	for _, r := range f.routes {
		if r.label != Other && (idle == nil || r.seen < idle.seen) {
			idle = r
		}
	}
	if idle == nil {
		return false
	}
	if idleAt := idle.seen + int64(idleMax.Seconds()); now < idleAt {
		f.fullUntil = idleAt
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
	if h.status == status { // otherwise, h is the histogram for all statuses beyond seriesMax
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

// Describe sends the descriptions of the metrics.
func (f *Feed) Describe(out chan<- *prometheus.Desc) {
	for _, d := range [...]*prometheus.Desc{descDuration, descCalls, descNamed, descNamedErrors} {
		out <- d
	}
}

// Collect sends a histogram for each route, method and status since the start of this process, the gRPC calls of each
// route, and the responses of each configured route.
func (f *Feed) Collect(out chan<- prometheus.Metric) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.routes {
		for _, h := range r.series {
			out <- h.metric(r.label)
		}
	}
	f.collectEdge(out)
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
	return prometheus.MustNewConstHistogram(descDuration, count, float64(h.sumMicros)/microsInSec, cumulative, h.method, label, status)
}
