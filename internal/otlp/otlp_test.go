package otlp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/test/otlptest"
	"github.com/wayside-proxy/wayside/test/testlog"
)

var (
	epoch = uuid.MustParse("0192f3a4-5b6c-7d8e-9f00-112233445566")
	began = time.Unix(1_800_000_000, 0)
	now   = began.Add(time.Minute)
	row   = catalogue.RowName{Host: "shop.example", Method: "GET", Label: "/users/{id}", Route: "api"}
)

// rig is an exporter with a receiver, a registry and a log.
type rig struct {
	*Exporter
	receiver *otlptest.Receiver
	registry *prometheus.Registry
	log      *testlog.Buffer
	clock    atomic.Int64 // nanoseconds since now
}

// newRig starts a receiver and creates an exporter for it; change may be nil.
func newRig(t *testing.T, r *otlptest.Receiver, change func(*Options)) *rig {
	t.Helper()
	if r.URL == "" {
		r.Start()
	}
	t.Cleanup(r.Close)
	g := &rig{receiver: r, registry: prometheus.NewRegistry(), log: new(testlog.Buffer)}
	o := Options{
		Endpoint: r.URL, Interval: time.Hour, Spans: true, Service: "shop", Instance: "i-1", Version: "1.2",
		Now: func() time.Time { return now.Add(time.Duration(g.clock.Load())) }, Logger: slog.New(slog.NewTextHandler(g.log, nil)),
		Gather: func(context.Context) ([]Source, error) {
			families, err := g.registry.Gather()
			return []Source{{families, began}}, err
		},
	}
	if change != nil {
		change(&o)
	}
	var err error
	if g.Exporter, err = New(o); err != nil {
		t.Fatal(err)
	}
	return g
}

// received returns what has arrived. Nothing may have been malformed.
func (g *rig) received(t *testing.T) otlptest.Export {
	t.Helper()
	export, errs := g.receiver.Received()
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return export
}

// count returns one of the exporter's own counters.
func (g *rig) count(t *testing.T, series string) float64 {
	t.Helper()
	own := prometheus.NewPedanticRegistry()
	own.MustRegister(g.Exporter)
	families, err := own.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			if name == "wayside_otlp_"+series {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// TestMetrics: each kind of metric arrives under its name, with its labels and values.
func TestMetrics(t *testing.T) {
	g := newRig(t, otlptest.New(), nil)
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "a_bytes_total", Help: "Help of a."}, []string{"kind"})
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "b"})
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "c_seconds", Buckets: []float64{1, 2, 5}})
	summary := prometheus.NewSummary(prometheus.SummaryOpts{Name: "d_seconds", Objectives: map[float64]float64{0.5: 0.01}})
	g.registry.MustRegister(counter, gauge, histogram, summary)
	counter.WithLabelValues("x").Add(7)
	counter.WithLabelValues("y\"\n").Add(1 << 60)
	gauge.Set(-1.5)
	for _, v := range []float64{0.5, 1, 1.5, 9, 9} {
		histogram.Observe(v)
		summary.Observe(v)
	}
	g.ExportMetrics(t.Context())
	got := g.received(t)
	if got.Resource["service.name"] != "shop" || got.Resource["service.instance.id"] != "i-1" || got.Scope != "wayside" {
		t.Errorf("resource %v, scope %s", got.Resource, got.Scope)
	}
	want := map[string]float64{
		`a_bytes_total{kind="x"}`: 7, `a_bytes_total{kind="y\"\n"}`: 1 << 60, "b": -1.5, "c_seconds_count": 5, "d_seconds_count": 5,
	}
	if series := got.Series(); fmt.Sprint(series) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", series, want)
	}
	sum := got.Metrics["a_bytes_total"]
	if sum.GetUnit() != "By" || sum.GetDescription() != "Help of a." || !sum.GetSum().GetIsMonotonic() || sum.GetSum().GetAggregationTemporality() != 2 {
		t.Errorf("%v", sum)
	}
	point := got.Metrics["c_seconds"].GetHistogram().GetDataPoints()[0]
	if fmt.Sprint(point.GetBucketCounts(), point.GetExplicitBounds(), point.GetSum()) != "[2 1 0 2] [1 2 5] 21" || got.Metrics["c_seconds"].GetUnit() != "s" {
		t.Errorf("%v", got.Metrics["c_seconds"])
	}
	if point.GetStartTimeUnixNano() != uint64(began.UnixNano()) || point.GetTimeUnixNano() != uint64(now.UnixNano()) {
		t.Errorf("times %v", point)
	}
	if q := got.Metrics["d_seconds"].GetSummary().GetDataPoints()[0].GetQuantileValues(); len(q) != 1 || q[0].GetQuantile() != 0.5 || q[0].GetValue() != 1.5 {
		t.Errorf("%v", q)
	}
	if g.count(t, "exports_total ok metrics") != 1 { // labels are sorted by name: result, signal
		t.Error("the export was not counted")
	}
}

// TestUntypedMetrics: metrics without a type, and a histogram with an explicit infinite bucket, as other libraries make them.
func TestUntypedMetrics(t *testing.T) {
	g := newRig(t, otlptest.New(), func(o *Options) {
		o.Gather = func(context.Context) ([]Source, error) {
			return []Source{{Families: []*dto.MetricFamily{
				{Name: proto.String("u"), Type: dto.MetricType_UNTYPED.Enum(), Metric: []*dto.Metric{{Untyped: &dto.Untyped{Value: proto.Float64(3)}}}},
			}}}, errors.New("one of the sources is away")
		}
	})
	g.ExportMetrics(t.Context())
	got := g.received(t)
	if got.Series()["u"] != 3 || got.Metrics["u"].GetGauge().GetDataPoints()[0].GetStartTimeUnixNano() != 0 {
		t.Errorf("%v", got.Metrics)
	}
}

func sampleEvent(span string) *event.Event {
	e := &event.Event{
		TimeMicros: now.UnixMicro(), Kind: event.KindRequest, Status: 200, DurationMicros: 1500, TTFBMicros: 900, RequestMicros: 500, ResponseBytes: 12,
		Method: []byte("GET"), Host: []byte("shop.example"), Path: []byte("/users/7\xff"), Upstream: []byte("10.0.0.1:80"), Protocol: []byte("1.1"),
	}
	e.Span, _, _ = event.ParseTraceparent([]byte("00-4bf92f3577b34da6a3ce929d0e0e4736-" + span + "-01"))
	return e
}

// TestSpan: a span says what the event says.
func TestSpan(t *testing.T) {
	g := newRig(t, otlptest.New(), nil)
	g.AddSpan(epoch, 7, row, sampleEvent("00f067aa0ba902b7"))
	failed := sampleEvent("00f067aa0ba902b8")
	failed.Status, failed.ErrorType, failed.Attempts, failed.GRPCStatus, failed.TLSVersion = 502, []byte("connect_refused"), 2, event.GRPCOf(14), 0x0304
	failed.Kind = event.KindStream
	g.AddSpan(epoch, 8, catalogue.RowName{Method: otherName, Label: otherName}, failed)
	g.Flush(t.Context())
	spans := g.received(t).Spans
	if len(spans) != 2 {
		t.Fatal(spans)
	}
	s, id := spans[0], event.ID(now.UnixMicro(), epoch, 7)
	if fmt.Sprintf("%x %x %x", s.GetTraceId(), s.GetParentSpanId(), s.GetSpanId()) != fmt.Sprintf("4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7 %x", id[8:]) {
		t.Errorf("%v", s)
	}
	if s.GetEndTimeUnixNano() != uint64(now.UnixNano()) || s.GetEndTimeUnixNano()-s.GetStartTimeUnixNano() != 2_000_000 {
		t.Errorf("from %d to %d", s.GetStartTimeUnixNano(), s.GetEndTimeUnixNano())
	}
	if s.GetName() != "GET /users/{id}" || s.GetKind() != 2 || s.GetFlags() != 0x301 || s.GetStatus() != nil {
		t.Errorf("%v", s)
	}
	want := map[string]string{
		"http.request.method": "GET", "url.template": "/users/{id}", "url.path": "/users/7\uFFFD", "server.address": "shop.example",
		"http.response.status_code": "200", "http.request.body.size": "0", "http.response.body.size": "12", "network.protocol.version": "1.1",
		"wayside.upstream_address": "10.0.0.1:80", "wayside.duration_us": "1500", "wayside.ttfb_us": "900", "wayside.event_id": id.String(),
	}
	if got := otlptest.Attributes(s.GetAttributes()); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	s = spans[1]
	got := otlptest.Attributes(s.GetAttributes())
	if s.GetName() != "HTTP" || s.GetStatus().GetCode() != 2 || got["error.type"] != "connect_refused" || got["wayside.attempts"] != "2" ||
		got["rpc.grpc.status_code"] != "14" || got["tls.protocol.version"] != "1.3" || got["wayside.kind"] != "stream" || got["http.request.method"] != "_OTHER" {
		t.Errorf("%v", s)
	}
}

// TestSpanTimes: no event, however strange its figures are, begins before 1970 or ends before it begins.
func TestSpanTimes(t *testing.T) {
	g := newRig(t, otlptest.New(), nil)
	for i, micros := range []int64{0, -5, 10, 1 << 50} {
		e := sampleEvent("00f067aa0ba902b7")
		e.TimeMicros, e.DurationMicros, e.RequestMicros = micros, 1<<63, 1<<62
		g.AddSpan(epoch, uint64(i+1), row, e)
	}
	g.Flush(t.Context())
	for _, s := range g.received(t).Spans {
		if s.GetStartTimeUnixNano() > s.GetEndTimeUnixNano() {
			t.Errorf("from %d to %d", s.GetStartTimeUnixNano(), s.GetEndTimeUnixNano())
		}
	}
}

// run runs the exporter until the test ends, and returns a function that ends it earlier.
func (g *rig) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never happened: " + what)
		}
	}
}

// TestRepeats: spans are sent again after an error that may pass, exactly once in the end, and every error is counted. Only
// one line is logged about it, and one about its end.
func TestRepeats(t *testing.T) {
	var requests atomic.Int32
	r := otlptest.NewUnstarted()
	r.Before = func(w http.ResponseWriter, _ *http.Request) bool {
		switch requests.Add(1) {
		case 1:
			http.Error(w, "come\nback later", http.StatusServiceUnavailable)
		case 2:
			w.WriteHeader(http.StatusTooManyRequests)
		case 3:
			panic(http.ErrAbortHandler) // closes the connection
		default:
			return false
		}
		return true
	}
	g := newRig(t, r, nil)
	g.retry = time.Millisecond
	g.run(t)
	g.AddSpan(epoch, 1, row, sampleEvent("00f067aa0ba902b7"))
	eventually(t, "the span was sent", func() bool { return g.count(t, "spans_total sent") == 1 })
	if got := g.received(t); len(got.Spans) != 1 || g.count(t, "exports_total failed traces") != 3 || g.count(t, "exports_total ok traces") != 1 {
		t.Errorf("%d spans, %v failures", len(got.Spans), g.count(t, "exports_total failed traces"))
	}
	if log := g.log.String(); strings.Count(log, "WARN") != 1 || strings.Count(log, "INFO") != 1 || !strings.Contains(log, "503 Service Unavailable: come back later") {
		t.Error(log)
	}
}

// TestGivesUp: spans that the receiver refuses for good are counted as failed, those that it rejects as rejected.
func TestGivesUp(t *testing.T) {
	var requests atomic.Int32
	r := otlptest.NewUnstarted()
	r.Before = func(w http.ResponseWriter, _ *http.Request) bool {
		if requests.Add(1) == 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write([]byte("\x0a\x08\x08\x01\x12\x04full")) // partial success: one was rejected
		return true
	}
	g := newRig(t, r, nil)
	g.AddSpan(epoch, 1, row, sampleEvent("00f067aa0ba902b7"))
	g.sendSpans(t.Context())
	g.AddSpan(epoch, 2, row, sampleEvent("00f067aa0ba902b7"))
	g.AddSpan(epoch, 3, row, sampleEvent("00f067aa0ba902b7"))
	g.clock.Add(int64(quietTime))
	g.sendSpans(t.Context())
	for series, want := range map[string]float64{"spans_total failed": 1, "spans_total rejected": 1, "spans_total sent": 1, "exports_total partial traces": 1} {
		if got := g.count(t, series); got != want {
			t.Errorf("%s: %v, want %v", series, got, want)
		}
	}
	if log := g.log.String(); !strings.Contains(log, "401") || !strings.Contains(log, "reason=full") {
		t.Error(log)
	}
}

// TestBounded: a receiver that never responds makes nobody wait, and the memory for waiting spans is bounded. Every span is
// counted as sent or lost.
func TestBounded(t *testing.T) {
	release := make(chan struct{})
	r := otlptest.NewUnstarted()
	r.Before = func(http.ResponseWriter, *http.Request) bool { <-release; return false }
	g := newRig(t, r, nil)
	g.client.timeout = time.Minute // a request that ends earlier would be sent again
	t.Cleanup(func() {
		select {
		case <-release:
		default:
			close(release)
		}
	})
	g.run(t)
	const n = 30_000
	for i := range uint64(n) {
		g.AddSpan(epoch, i+1, row, sampleEvent("00f067aa0ba902b7"))
	}
	g.queue.mu.Lock()
	held := 0
	for _, c := range g.queue.chunks {
		held += len(c.items)
	}
	g.queue.mu.Unlock()
	if dropped := g.count(t, "spans_total dropped"); dropped == 0 || held > chunksMax*(chunkBytes+4<<10) {
		t.Errorf("%v dropped, %d bytes held", dropped, held)
	}
	close(release)
	eventually(t, "every span was sent or counted as lost", func() bool {
		return g.count(t, "spans_total sent")+g.count(t, "spans_total dropped") == n
	})
	if got := g.received(t); float64(len(got.Spans)) != g.count(t, "spans_total sent") {
		t.Errorf("%d spans arrived, %v counted", len(got.Spans), g.count(t, "spans_total sent"))
	}
	eventually(t, "the loss was logged", func() bool { return g.log.Count("dropped spans") == 1 })
}

// TestSlowReceiver: a request to a receiver that hangs ends, and the end of the process does not wait for it.
func TestSlowReceiver(t *testing.T) {
	release := make(chan struct{})
	r := otlptest.NewUnstarted()
	r.Before = func(_ http.ResponseWriter, req *http.Request) bool {
		select {
		case <-release:
		case <-req.Context().Done():
		}
		return true
	}
	g := newRig(t, r, nil)
	t.Cleanup(func() { close(release) })
	g.client.timeout = 20 * time.Millisecond
	g.ExportMetrics(t.Context())
	if g.count(t, "exports_total failed metrics") != 1 || !strings.Contains(g.log.String(), "deadline exceeded") {
		t.Error(g.log.String())
	}
	stop := g.run(t)
	g.AddSpan(epoch, 1, row, sampleEvent("00f067aa0ba902b7"))
	stop()
	if g.count(t, "spans_total failed") != 1 {
		t.Error("the lost span was not counted")
	}
}

// TestTLSAndHeaders: the receiver's certificate must be trusted, and configured fields are in every request. Redirects are
// not followed, because they would send these fields to another server.
func TestTLSAndHeaders(t *testing.T) {
	ca := certtest.NewCA(t, "otlp")
	var stolen atomic.Bool
	thief := otlptest.NewUnstarted()
	thief.Before = func(http.ResponseWriter, *http.Request) bool { stolen.Store(true); return true }
	thief.Start()
	t.Cleanup(thief.Close)
	r := otlptest.NewUnstarted()
	r.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, certtest.Leaf{Names: []string{"127.0.0.1"}}).TLS}}
	var redirect atomic.Bool
	r.Before = func(w http.ResponseWriter, req *http.Request) bool {
		switch {
		case req.Header.Get("Authorization") != "Bearer secret":
			w.WriteHeader(http.StatusUnauthorized)
		case redirect.Load():
			http.Redirect(w, req, thief.URL, http.StatusTemporaryRedirect)
		default:
			return false
		}
		return true
	}
	r.StartTLS()
	trusting := func(o *Options) { o.CA, o.Header = string(ca.PEM()), http.Header{"Authorization": {"Bearer secret"}} }
	g := newRig(t, r, trusting)
	if err := g.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.ExportMetrics(t.Context())
	if g.count(t, "exports_total ok metrics") != 1 {
		t.Error(g.log.String())
	}
	redirect.Store(true)
	if err := g.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "redirects are not followed") || stolen.Load() {
		t.Errorf("%v, %v", err, stolen.Load())
	}
	without := newRig(t, r, func(o *Options) { trusting(o); o.CA = "" })
	if err := without.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the CA: %v", err)
	}
	if strings.Contains(g.log.String()+without.log.String(), "secret") {
		t.Error("the log has the secret")
	}
}

// TestStrangeResponses: whatever a receiver responds, the exporter reports an error or success, and does not read without end.
func TestStrangeResponses(t *testing.T) {
	for _, body := range []string{"", "\x0a", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x0a\x02\x08\xff", strings.Repeat("\x00", 1000), "\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		for _, status := range []int{200, 400, 503} {
			resp := &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body))}
			if _, err := understand(resp, []byte(body)); (err == nil) != (status == 200) {
				t.Errorf("%d with %q: %v", status, body, err)
			}
		}
	}
	endless := otlptest.NewUnstarted()
	endless.Before = func(w http.ResponseWriter, req *http.Request) bool {
		for req.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				break
			}
		}
		return true
	}
	g := newRig(t, endless, nil)
	g.ExportMetrics(t.Context())
	if g.count(t, "exports_total ok metrics") != 1 {
		t.Error(g.log.String())
	}
}
