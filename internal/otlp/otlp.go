// Package otlp sends metrics and spans to an OpenTelemetry collector, or to anything else that receives OTLP over HTTP (protobuf, gzip).
//
//   - otlp.go: the exporter, its loops, its own metrics
//   - metrics.go, spans.go, wire.go: the messages
//   - client.go: the requests
//
// # What can be lost
//
// Metrics are cumulative, so a lost export leaves out only one point in time; the next export includes all counts. Spans exist only in
// memory, and only until they are sent. They are lost if the process dies, if the receiver rejects them, if it cannot be reached for
// retryMax, or if more than chunksMax requests are waiting. All of these losses are counted, except those caused by the death of the
// process. The drain loop never waits for this package.
package otlp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// Options configure an Exporter.
type Options struct {
	Endpoint string        // http:// or https:// URL, to which /v1/metrics and /v1/traces are appended; required
	Header   http.Header   // additional fields of every request, such as Authorization; never logged
	CA       string        // PEM certificates to trust in addition to those of the system
	Interval time.Duration // time between two exports of metrics; 0: none
	Spans    bool          // whether the exporter sends spans

	Service  string // resource attribute service.name
	Instance string // resource attribute service.instance.id
	Version  string // version of the instrumentation scope "wayside"

	// Gather returns the metrics to export. If it returns an error, the sources that it returns are still exported.
	Gather func(context.Context) ([]Source, error)
	Now    func() time.Time // required
	Logger *slog.Logger     // required
}

// Exporter sends metrics and spans. It is safe for concurrent use.
type Exporter struct {
	o       Options
	client  *client
	queue   *spanQueue
	figures figures
	metrics complaint // about metrics
	spans   complaint // about spans
	retry   time.Duration
}

// Names of the two signals in metrics and in the paths of the specification.
const (
	signalMetrics = "metrics"
	signalTraces  = "traces"
	pathPrefix    = "/v1/"
)

const (
	retryFirst = time.Second      // pause before spans are sent again; it doubles with each failure
	retryPause = 4 * time.Second  // longest such pause: how long spans still pile up once the collector is back
	retryMax   = time.Minute      // time after which spans that cannot be sent are dropped
	flushWait  = 2 * time.Second  // for the last requests of the process
	quietTime  = 10 * time.Minute // time between two log lines about the same signal
)

// New returns an exporter that does nothing before Run. It contacts no server.
func New(o Options) (*Exporter, error) {
	c, err := newClient(&o)
	if err != nil {
		return nil, err
	}
	f := newFigures()
	return &Exporter{
		o: o, client: c, queue: newSpanQueue(f.spans.WithLabelValues("dropped")), figures: f, retry: retryFirst,
		metrics: complaint{log: o.Logger, what: "metrics", now: o.Now}, spans: complaint{log: o.Logger, what: "spans", now: o.Now},
	}, nil
}

// Run sends metrics and spans until ctx is done. Then it tries to send the remaining spans once more.
func (e *Exporter) Run(ctx context.Context) {
	defer e.client.transport.CloseIdleConnections()
	var loops sync.WaitGroup
	if e.o.Interval > 0 {
		loops.Go(func() {
			ticker := time.NewTicker(e.o.Interval)
			defer ticker.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
					e.ExportMetrics(ctx)
				}
			}
		})
	}
	if e.o.Spans {
		loops.Go(func() {
			for {
				select {
				case <-ctx.Done():
					e.flushSpans(context.WithoutCancel(ctx))
					return
				case <-e.queue.wake:
					e.sendSpans(ctx)
				}
			}
		})
	}
	loops.Wait()
}

// Flush sends the metrics and all waiting spans once, without repeating failed requests. It takes at most flushWait.
func (e *Exporter) Flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushWait)
	defer cancel()
	var signals sync.WaitGroup
	if e.o.Interval > 0 {
		signals.Go(func() { e.ExportMetrics(ctx) })
	}
	signals.Go(func() { e.flushSpans(ctx) })
	signals.Wait()
}

// ExportMetrics gathers and sends the metrics once.
func (e *Exporter) ExportMetrics(ctx context.Context) {
	sources, err := e.o.Gather(ctx)
	if err != nil && ctx.Err() == nil {
		e.o.Logger.Debug("cannot gather all metrics for OTLP; sending the others", "error", err)
	}
	var items []byte
	now := e.o.Now()
	for _, s := range sources {
		items = appendMetrics(items, s, now)
	}
	part, err := e.client.post(ctx, pathPrefix+signalMetrics, e.o.request(items))
	e.done(ctx, signalMetrics, &e.metrics, part, err)
}

// AddSpan adds the span of an event to those that wait to be sent. It does not block, and retains none of the event's slices. If there is
// no room, the span is lost and counted.
func (e *Exporter) AddSpan(epoch uuid.UUID, seq uint64, row catalogue.RowName, ev *event.Event) {
	e.queue.add(epoch, seq, row, ev)
}

// sendSpans sends the waiting spans. It repeats each request that fails for a temporary reason, for at most retryMax.
func (e *Exporter) sendSpans(ctx context.Context) {
	for c := e.queue.take(); c != nil; c = e.queue.take() {
		wait := &backoff.ExponentialBackOff{InitialInterval: e.retry, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: retryPause}
		_, err := backoff.Retry(ctx, func() (struct{}, error) {
			err := e.postSpans(ctx, c)
			again, after := temporary(err)
			switch {
			case err == nil || !again:
				return struct{}{}, backoff.Permanent(err)
			case after > 0:
				return struct{}{}, backoff.RetryAfter(int(after / time.Second))
			}
			return struct{}{}, err
		}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(retryMax))
		if err != nil {
			e.figures.spans.WithLabelValues("failed").Add(float64(c.spans))
		}
	}
	if lost := e.queue.takeLost(); lost > 0 {
		e.spans.add("dropped spans, because too many were waiting for the OTLP collector", "dropped", lost)
	}
}

// flushSpans sends the waiting spans without repeating failed requests.
func (e *Exporter) flushSpans(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushWait)
	defer cancel()
	for c := e.queue.take(); c != nil; c = e.queue.take() {
		if e.postSpans(ctx, c) != nil {
			e.figures.spans.WithLabelValues("failed").Add(float64(c.spans))
		}
	}
}

// postSpans sends a chunk once and counts the spans that the receiver accepted or rejected.
func (e *Exporter) postSpans(ctx context.Context, c *chunk) error {
	part, err := e.client.post(ctx, pathPrefix+signalTraces, e.o.request(c.items))
	e.done(ctx, signalTraces, &e.spans, part, err)
	if err != nil {
		return err
	}
	rejected := min(part.rejected, uint64(c.spans))
	e.figures.spans.WithLabelValues("rejected").Add(float64(rejected))
	e.figures.spans.WithLabelValues("sent").Add(float64(c.spans) - float64(rejected))
	return nil
}

// done counts a request and logs a failure.
func (e *Exporter) done(ctx context.Context, signal string, about *complaint, part partial, err error) {
	result := "ok"
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		result = "failed" // the process is ending, which needs no log line
	case err != nil:
		result = "failed"
		about.add("cannot send to the OTLP collector; traffic and the books are not affected", "error", err)
	case part.rejected > 0:
		result = "partial"
		about.add("the OTLP collector rejected some items; they are not sent again", "rejected", part.rejected, "reason", part.reason)
	default:
		about.end()
	}
	e.figures.exports.WithLabelValues(signal, result).Inc()
}

// Probe sends an empty request of each signal that the exporter sends, and returns the error of the first one that the receiver does not
// accept.
func (e *Exporter) Probe(ctx context.Context) error {
	for signal, on := range map[string]bool{signalMetrics: e.o.Interval > 0, signalTraces: e.o.Spans} {
		if !on {
			continue
		}
		if _, err := e.client.post(ctx, pathPrefix+signal, nil); err != nil {
			return err
		}
	}
	return nil
}

// figures are the exporter's own metrics.
type figures struct {
	exports *prometheus.CounterVec
	spans   *prometheus.CounterVec
}

func newFigures() figures {
	f := figures{
		exports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wayside_otlp_exports_total", Help: "Requests to the OTLP collector, by signal and result.",
		}, []string{"signal", "result"}),
		spans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wayside_otlp_spans_total", Help: "Spans by result: sent, or lost because too many were waiting (dropped), because " +
				"sending failed (failed), or because the collector did not accept them (rejected).",
		}, []string{"result"}),
	}
	for _, result := range []string{"sent", "rejected", "failed"} {
		f.spans.WithLabelValues(result)
	}
	return f
}

// Describe implements [prometheus.Collector].
func (e *Exporter) Describe(to chan<- *prometheus.Desc) {
	e.figures.exports.Describe(to)
	if e.o.Spans {
		e.figures.spans.Describe(to)
	}
}

// Collect implements [prometheus.Collector].
func (e *Exporter) Collect(to chan<- prometheus.Metric) {
	e.figures.exports.Collect(to)
	if e.o.Spans {
		e.figures.spans.Collect(to)
	}
}

// complaint logs a problem with a signal, at most once in quietTime, and the end of the problem.
type complaint struct {
	log  *slog.Logger
	what string
	now  func() time.Time

	mu     sync.Mutex
	last   time.Time // of the last log line; guarded by mu
	logged bool      // whether the end must be logged; guarded by mu
}

func (c *complaint) add(text string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); c.last.IsZero() || now.Sub(c.last) >= quietTime {
		c.last, c.logged = now, true
		c.log.Warn(text, append([]any{"signal", c.what}, args...)...)
	}
}

func (c *complaint) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logged {
		c.logged = false
		c.log.Info("the OTLP collector accepts requests again", "signal", c.what)
	}
}
