package collector

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters of the drain loop. Gauges are read at each scrape.
type metrics struct {
	applied, batches, quarantined prometheus.Counter
	failures, retries, forgotten  prometheus.Counter
	applySeconds, snapshotSeconds prometheus.Histogram
}

func newMetrics(c *Collector) (*metrics, *prometheus.Registry) {
	registry := prometheus.NewRegistry()
	counter := func(name, help string) prometheus.Counter {
		m := prometheus.NewCounter(prometheus.CounterOpts{Name: "wayside_" + name, Help: help})
		registry.MustRegister(m)
		return m
	}
	histogram := func(name, help string, first float64) prometheus.Histogram {
		m := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wayside_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(first, 2, 14),
		})
		registry.MustRegister(m)
		return m
	}
	m := &metrics{
		applied:     counter("collector_applied_total", "Responses applied to the store by this process."),
		batches:     counter("collector_batches_total", "Transactions that applied events."),
		quarantined: counter("collector_quarantined_total", "Responses that were quarantined."),
		failures:    counter("collector_failures_total", "Failed attempts to apply a batch that were caused by its events."),
		forgotten:   counter("collector_forgotten_events_total", "Events whose path wayside forget removed."),
		retries:     counter("collector_retries_total", "Steps that were retried because the spool or the store was unavailable."),
		applySeconds: histogram("collector_apply_duration_seconds",
			"Time to label, write and sync one transaction.", 0.0005),
		snapshotSeconds: histogram("collector_snapshot_duration_seconds", "Time to build one snapshot.", 0.0005),
	}
	registry.MustRegister(c.live)
	registerGauges(c, registry)
	registerBacklog(c, registry)
	return m, registry
}

// registerGauges adds the gauges.
func registerGauges(c *Collector, registry *prometheus.Registry) {
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		registry.MustRegister(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: "wayside_" + name, Help: help, ConstLabels: labels}, value))
	}
	gauge("collector_lag_seconds", "Age of the newest applied event when it was applied; 0 if nothing is pending.", nil,
		func() float64 { return c.Status().Lag.Seconds() })
	gauge("collector_paused", "1 while applying is paused because of a disk limit.", nil,
		func() float64 { return flag(strings.HasPrefix(c.Status().State, ErrPaused.Error())) })
	gauge("collector_unavailable", "1 while the spool or the store is unavailable.", nil,
		func() float64 { return flag(strings.HasPrefix(c.Status().State, "unavailable")) })
	gauge("snapshot_version", "Version of the latest snapshot.", nil,
		func() float64 { return float64(c.Status().SnapshotVersion) })
	gauge("paths_rows", "Rows in use: host, method and path template.", nil,
		func() float64 { return float64(c.Status().Paths.Rows) })
	gauge("paths_rows_max", "Rows allowed (paths.max).", nil,
		func() float64 { return float64(c.Status().Paths.RowsMax) })
	for i, kind := range []string{"lsm", "vlog"} {
		gauge("store_bytes", "Size of the store by kind of file.", prometheus.Labels{"part": kind}, func() float64 {
			lsm, vlog := c.o.Store.Size()
			return float64([]int64{lsm, vlog}[i])
		})
	}
	if c.o.DataDir == "" {
		return
	}
	for _, folder := range []string{"spool", "store", "quarantine", "archive", "other"} {
		gauge("data_bytes", "Bytes allocated in the data directory by folder.", prometheus.Labels{"part": folder},
			func() float64 { return float64(c.guard.measure().folders[folder]) })
	}
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
