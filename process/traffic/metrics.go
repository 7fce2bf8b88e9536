package traffic

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/wayside-proxy/wayside/spool"
)

// metrics returns the traffic process's registry. The figures are read at each scrape, so counting is the only cost for traffic. The
// metrics of proxy and spool are defined in those packages.
func (t *traffic) metrics() prometheus.Gatherer {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(),
		t.proxy.Collector(), spool.NewCollector(t.spool), trafficMetrics{t},
	)
	return registry
}

var (
	descBuild = prometheus.NewDesc("wayside_build_info", "Version of the running binary.", []string{"version", "commit"}, nil)

	descReloads    = prometheus.NewDesc("wayside_config_reloads_total", "Reloads of the configuration, by result.", []string{"result"}, nil)
	descReloadedAt = prometheus.NewDesc("wayside_config_last_reload_timestamp_seconds", "When the configuration was last reloaded, 0 if never.", nil, nil)
	descLogLost    = prometheus.NewDesc("wayside_log_dropped_total", "Log lines that were lost because their reader was too slow or went away.", nil, nil)
	descLinesLost  = prometheus.NewDesc("wayside_access_log_dropped_total", "Access log lines that were lost because their reader was too slow or went away.", nil, nil)

	descWrongTokens = prometheus.NewDesc("wayside_admin_wrong_tokens_total", "Requests to the admin listener and the probes listener that had a wrong token.", nil, nil)

	descBooksUp       = prometheus.NewDesc("wayside_books_process_up", "1 while a books process is connected and responds.", nil, nil)
	descBalanced      = prometheus.NewDesc("wayside_accounting_balanced", "1 if the figures of GET /api/v1/accounting added up at the last check, which is made every minute; absent before the first check and while the books process is not running.", nil, nil)
	descBooksRestarts = prometheus.NewDesc("wayside_books_process_restarts_total", "Restarts of the books process.", nil, nil)
)

// trafficMetrics collects the figures of the traffic process's parts.
type trafficMetrics struct{ *traffic }

// Describe sends nothing, which makes this an unchecked collector.
func (trafficMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends the current figures.
func (t trafficMetrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(descBuild, 1, t.opt.Version, t.opt.Commit)
	count(descReloads, t.config.ok.Load(), "ok")
	count(descReloads, t.config.failed.Load(), "failed")
	gauge(descReloadedAt, float64(t.config.last.Load()))
	count(descLogLost, t.logTo.Lost())
	if t.access != nil {
		count(descLinesLost, t.access.Dropped()+t.accessTo.Lost())
	}
	count(descWrongTokens, t.admin.WrongTokens())
	_, silent := t.admin.BooksSilent()
	gauge(descBooksUp, oneIf(!t.peers.away() && !silent))
	if balanced := t.audit.balanced.Load(); balanced != nil {
		gauge(descBalanced, oneIf(*balanced))
	}
	if t.child != nil {
		count(descBooksRestarts, t.child.Status().Restarts)
	}
}

func oneIf(v bool) float64 {
	if v {
		return 1
	}
	return 0
}
