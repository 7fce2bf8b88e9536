// Package otlptest receives OTLP over HTTP for tests, and decodes it with the official types of the protocol.
package otlptest

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	metricspb "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metricsv1 "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resourcev1 "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracev1 "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Receiver is a server that receives OTLP. Its methods may be called while it is receiving.
type Receiver struct {
	*httptest.Server

	// Before is called for each request. If it returns true, it has sent the response, and the receiver discards the request. It must be
	// set before the first request.
	Before func(http.ResponseWriter, *http.Request) bool

	mu     sync.Mutex
	export Export
	errs   []error
}

// New starts a receiver without TLS. The caller must close it.
func New() *Receiver {
	r := NewUnstarted()
	r.Start()
	return r
}

// NewUnstarted returns a receiver that does not listen yet.
func NewUnstarted() *Receiver {
	r := &Receiver{}
	r.Server = httptest.NewUnstartedServer(r)
	return r
}

// ServeHTTP implements [http.Handler].
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.Before != nil && r.Before(w, req) {
		return
	}
	if err := r.receive(req); err != nil {
		r.mu.Lock()
		r.errs = append(r.errs, err)
		r.mu.Unlock()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (r *Receiver) receive(req *http.Request) error {
	h := req.Header
	if req.Method != http.MethodPost || h.Get("Content-Type") != "application/x-protobuf" || h.Get("Content-Encoding") != "gzip" {
		return fmt.Errorf("%s with %v", req.Method, h)
	}
	z, err := gzip.NewReader(req.Body)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(z)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch req.URL.Path {
	case "/v1/metrics":
		var m metricspb.ExportMetricsServiceRequest
		if err := unmarshal(body, &m); err != nil {
			return err
		}
		r.export.AddMetrics(m.GetResourceMetrics())
	case "/v1/traces":
		var m tracepb.ExportTraceServiceRequest
		if err := unmarshal(body, &m); err != nil {
			return err
		}
		r.export.AddSpans(m.GetResourceSpans())
	default:
		return fmt.Errorf("unknown path %s", req.URL.Path)
	}
	return nil
}

// unmarshal also rejects fields that the message does not have.
func unmarshal(body []byte, into proto.Message) error {
	if err := proto.Unmarshal(body, into); err != nil {
		return err
	}
	if unknown := into.ProtoReflect().GetUnknown(); len(unknown) > 0 {
		return fmt.Errorf("unknown fields %x", unknown)
	}
	return nil
}

// Received returns what the receiver has so far, and the errors of requests that it could not decode.
func (r *Receiver) Received() (Export, []error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.export.clone(), slices.Clone(r.errs)
}

// Export is the content of any number of requests.
type Export struct {
	Requests map[string]int               // by signal: metrics, traces
	Resource map[string]string            // attributes of the latest resource
	Scope    string                       // name of the latest scope
	Metrics  map[string]*metricsv1.Metric // by name, as in the latest request
	Spans    []*tracev1.Span              // in the order of their arrival
}

func (e *Export) clone() Export {
	out := *e
	out.Spans = slices.Clone(e.Spans)
	out.Requests = map[string]int{}
	for signal, n := range e.Requests {
		out.Requests[signal] = n
	}
	return out
}

func (e *Export) note(signal string, resource *resourcev1.Resource, scope *commonv1.InstrumentationScope) {
	if e.Requests == nil {
		e.Requests = map[string]int{}
	}
	e.Requests[signal]++
	e.Resource, e.Scope = Attributes(resource.GetAttributes()), scope.GetName()
}

// AddMetrics adds the metrics of one request, which replace those of the previous request.
func (e *Export) AddMetrics(list []*metricsv1.ResourceMetrics) {
	latest := map[string]*metricsv1.Metric{}
	for _, resource := range list {
		for _, scope := range resource.GetScopeMetrics() {
			e.note("metrics", resource.GetResource(), scope.GetScope())
			for _, m := range scope.GetMetrics() {
				latest[m.GetName()] = m
			}
		}
	}
	e.Metrics = latest
}

// AddSpans adds the spans of one request.
func (e *Export) AddSpans(list []*tracev1.ResourceSpans) {
	for _, resource := range list {
		for _, scope := range resource.GetScopeSpans() {
			e.note("traces", resource.GetResource(), scope.GetScope())
			e.Spans = append(e.Spans, scope.GetSpans()...)
		}
	}
}

// Attributes returns the values of attributes as text, by key.
func Attributes(list []*commonv1.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range list {
		switch v := a.GetValue().GetValue().(type) {
		case *commonv1.AnyValue_StringValue:
			out[a.GetKey()] = v.StringValue
		case *commonv1.AnyValue_IntValue:
			out[a.GetKey()] = fmt.Sprint(v.IntValue)
		}
	}
	return out
}

// Series returns the value of each series of all counters and gauges and, for histograms and summaries, their counts. A series is written as
// in /metrics, with sorted labels: name{label="value"}.
func (e *Export) Series() map[string]float64 {
	out := map[string]float64{}
	for name, m := range e.Metrics {
		for _, p := range slices.Concat(m.GetSum().GetDataPoints(), m.GetGauge().GetDataPoints()) {
			out[seriesName(name, p.GetAttributes())] = p.GetAsDouble()
		}
		for _, p := range m.GetHistogram().GetDataPoints() {
			out[seriesName(name+"_count", p.GetAttributes())] = float64(p.GetCount())
		}
		for _, p := range m.GetSummary().GetDataPoints() {
			out[seriesName(name+"_count", p.GetAttributes())] = float64(p.GetCount())
		}
	}
	return out
}

func seriesName(name string, attributes []*commonv1.KeyValue) string {
	var labels []string
	for key, value := range Attributes(attributes) {
		labels = append(labels, fmt.Sprintf("%s=%q", key, value))
	}
	if len(labels) == 0 {
		return name
	}
	slices.Sort(labels)
	return name + "{" + strings.Join(labels, ",") + "}"
}

// SpansByEvent returns the spans, indexed by the ID of their events. It returns an error if an event has several spans.
func (e *Export) SpansByEvent() (map[string]*tracev1.Span, error) {
	out := map[string]*tracev1.Span{}
	for _, s := range e.Spans {
		id := Attributes(s.GetAttributes())["wayside.event_id"]
		if out[id] != nil || !strings.HasSuffix(strings.ReplaceAll(id, "-", ""), hex.EncodeToString(s.GetSpanId())) {
			return nil, fmt.Errorf("event %q has two spans, or span %x does not belong to it", id, s.GetSpanId())
		}
		out[id] = s
	}
	return out, nil
}
