package live

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/internal/event"
)

// namedMax is the maximum number of configured routes that have their own counters. Routes come from the configuration, but each reload
// can add new names, so their number over the life of the process must be bounded. All other routes are counted under Other.
const namedMax = 256

// calls counts gRPC calls by status code.
type calls [event.GRPCCodeOther + 1]uint64

// named holds the counts of one configured route.
type named struct {
	classes [6]uint64 // by the first digit of the status; 0 is for all other codes
	errors  uint64
}

var (
	descCalls = prometheus.NewDesc("wayside_grpc_responses_total",
		"gRPC calls by method and status code; 17 is for codes that gRPC does not define. Calls that ended without a status are not counted.",
		[]string{"http_route", "rpc_grpc_status_code"}, nil)
	descNamed       = prometheus.NewDesc("wayside_route_responses_total", "Responses by configured route and status class.", []string{"route", "class"}, nil)
	descNamedErrors = prometheus.NewDesc("wayside_route_errors_total", "Responses that are errors, by configured route.", []string{"route"}, nil)
)

// countEdge counts by the fields that only events of an edge proxy have: gRPC status and configured route. The caller holds the feed's
// lock.
func (f *Feed) countEdge(r *row, name string, e *event.Event) {
	if code, ok := e.GRPCStatus.Code(); ok {
		if r.route.calls == nil {
			r.route.calls = new(calls)
		}
		r.route.calls[code]++
	}
	if name == "" {
		return
	}
	n := f.named[name]
	if n == nil {
		if len(f.named) >= namedMax {
			name = Other
		}
		if n = f.named[name]; n == nil {
			n = new(named)
			f.named[name] = n
		}
	}
	class := e.Status / 100
	if int(class) >= len(n.classes) {
		class = 0
	}
	n.classes[class]++
	if e.IsError() {
		n.errors++
	}
}

func (f *Feed) collectEdge(out chan<- prometheus.Metric) {
	for _, r := range f.routes {
		if r.calls == nil {
			continue
		}
		for i, n := range r.calls {
			if n > 0 {
				out <- prometheus.MustNewConstMetric(descCalls, prometheus.CounterValue, float64(n), r.label, strconv.Itoa(i))
			}
		}
	}
	for name, n := range f.named {
		for class, count := range n.classes {
			text := strconv.Itoa(class) + "xx"
			switch {
			case class == 0 && count == 0:
				continue
			case class == 0:
				text = "_OTHER"
			}
			out <- prometheus.MustNewConstMetric(descNamed, prometheus.CounterValue, float64(count), name, text)
		}
		out <- prometheus.MustNewConstMetric(descNamedErrors, prometheus.CounterValue, float64(n.errors), name)
	}
}
