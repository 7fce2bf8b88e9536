package books

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/otlp"
	"github.com/wayside-proxy/wayside/spool"
)

// OTLPOptions returns the options of an exporter without metrics to export.
func OTLPOptions(cfg *configs.Config, version string, log *slog.Logger) otlp.Options {
	return otlp.Options{
		Endpoint: cfg.OTLP.Endpoint, Header: cfg.OTLP.Header(), CA: cfg.OTLP.CA, Interval: cfg.OTLP.Interval.Std(), Spans: cfg.SpanPercent() > 0,
		Service: cfg.Service, Instance: cfg.Instance, Version: version, Now: clock.Now, Logger: log,
	}
}

// export creates the exporter of the metrics of both processes, and of spans, if one is configured.
func (b *books) export(source spool.Source) (err error) {
	if b.cfg.OTLP.Endpoint == "" {
		return nil
	}
	o := OTLPOptions(b.cfg, b.version, b.log)
	began, gatherers := clock.Now(), sync.OnceValue(b.gatherers)
	o.Gather = func(ctx context.Context) ([]otlp.Source, error) {
		own, err := gatherers().Gather()
		sources := []otlp.Source{{Families: own, Started: began}}
		if err != nil {
			return sources, err
		}
		fetching, cancel := context.WithTimeout(ctx, fetchWait)
		defer cancel()
		body, err := source.Fetch(fetching, admin.TopicMetrics)
		if err != nil {
			return sources, err
		}
		traffic, err := admin.ReadFamilies(body)
		return append(sources, otlp.Source{Families: traffic, Started: startOf(traffic)}), err
	}
	if b.otlp, err = otlp.New(o); err != nil {
		return fmt.Errorf("export by OTLP: %w", err)
	}
	return nil
}

// addSpan passes the span of an applied event to the exporter.
func (b *books) addSpan(epoch uuid.UUID, seq uint64, row catalogue.RowName, e *event.Event) {
	if b.otlp != nil {
		b.otlp.AddSpan(epoch, seq, row, e)
	}
}

// fetchWait limits the wait for the metrics of the traffic process.
const fetchWait = 2 * time.Second

// startOf returns the start time of the process that the metrics come from; zero if they do not contain it.
func startOf(families []*dto.MetricFamily) time.Time {
	for _, f := range families {
		if f.GetName() == "process_start_time_seconds" && len(f.GetMetric()) == 1 {
			return time.UnixMilli(int64(1000 * f.GetMetric()[0].GetGauge().GetValue()))
		}
	}
	return time.Time{}
}

// gatherers returns all metrics of the books process.
func (b *books) gatherers() prometheus.Gatherers {
	return prometheus.Gatherers{b.collector.Registry(), b.uploader.Metrics(), b.metrics()}
}
