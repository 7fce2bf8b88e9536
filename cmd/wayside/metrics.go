package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/proxy"
	"github.com/wayside-proxy/wayside/spool"
)

// metrics returns the traffic process's registry. Figures are read when they are asked for, so that the traffic path
// counts only once.
func (t *traffic) metrics() prometheus.Gatherer {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(),
		&trafficMetrics{t: t},
	)
	return registry
}

var (
	descBuild = prometheus.NewDesc("wayside_build_info", "Version of the running binary.", []string{"version", "commit"}, nil)

	descInFlight      = prometheus.NewDesc("wayside_proxy_requests_in_flight", "Requests being handled, streams included.", nil, nil)
	descClientConns   = prometheus.NewDesc("wayside_proxy_client_connections", "Open client connections.", nil, nil)
	descUpstreamConns = prometheus.NewDesc("wayside_proxy_upstream_connections", "Open upstream connections.", []string{"state"}, nil)
	descResponses     = prometheus.NewDesc("wayside_proxy_responses_total", "Responses by status class, wayside's own included.", []string{"class"}, nil)
	descFailures      = prometheus.NewDesc("wayside_proxy_failures_total", "Requests that failed, by error type.", []string{"error_type"}, nil)
	descRetries       = prometheus.NewDesc("wayside_proxy_retries_total", "Requests sent to the upstream a second time.", nil, nil)

	descUpConns     = prometheus.NewDesc("wayside_upstream_connections", "Open connections to an upstream.", []string{"upstream", "state"}, nil)
	descUpConnects  = prometheus.NewDesc("wayside_upstream_connects_total", "Attempts to connect to an upstream, by result.", []string{"upstream", "result"}, nil)
	descUpResponses = prometheus.NewDesc("wayside_upstream_responses_total", "Responses to requests for an upstream, by status class.", []string{"upstream", "class"}, nil)
	descUpFailures  = prometheus.NewDesc("wayside_upstream_failures_total", "Requests for an upstream that failed, by error type.", []string{"upstream", "error_type"}, nil)
	descUpFirstByte = prometheus.NewDesc("wayside_upstream_first_byte_seconds", "Time from a request's first byte out to the response's header.", []string{"upstream"}, nil)

	descReloads    = prometheus.NewDesc("wayside_config_reloads_total", "Reloads of the configuration, by result.", []string{"result"}, nil)
	descReloadedAt = prometheus.NewDesc("wayside_config_last_reload_timestamp_seconds", "When the configuration was last reloaded, 0 if never.", nil, nil)
	descLogLost    = prometheus.NewDesc("wayside_log_dropped_total", "Lines of the log that were lost because its reader did not keep up, or left.", nil, nil)
	descLinesLost  = prometheus.NewDesc("wayside_access_log_dropped_total", "Lines of the access log that were lost because its reader did not keep up, or left.", nil, nil)

	descRecorded = prometheus.NewDesc("wayside_spool_recorded_total", "Responses recorded in the present epoch.", nil, nil)
	descDropped  = prometheus.NewDesc("wayside_spool_dropped_total", "Responses that could not be recorded since the start, by reason; damaged are also those of earlier processes that were found lost.", []string{"reason"}, nil)
	descExcluded = prometheus.NewDesc("wayside_spool_excluded_total", "Responses not recorded because record.exclude says so, in the present epoch.", nil, nil)
	descPending  = prometheus.NewDesc("wayside_spool_pending_events", "Events waiting for the books process.", nil, nil)
	descAge      = prometheus.NewDesc("wayside_spool_oldest_age_seconds", "Age of the oldest waiting batch.", nil, nil)
	descQueue    = prometheus.NewDesc("wayside_spool_queue_bytes", "Size of the queue files.", nil, nil)
	descSegments = prometheus.NewDesc("wayside_spool_journal_segments_in_use", "Journal segments that are not free.", nil, nil)
	descCommits  = prometheus.NewDesc("wayside_spool_commits_total", "Commits of the queue, by result.", []string{"result"}, nil)
	descSetAside = prometheus.NewDesc("wayside_spool_quarantined_files_total", "Damaged files and values set aside.", nil, nil)
	descGivenUp  = prometheus.NewDesc("wayside_spool_given_up_total", "Responses given up because they waited longer than spool.age_max, those that earlier processes left included.", nil, nil)
	descUnsynced = prometheus.NewDesc("wayside_spool_unsynced_total", "With spool.sync: request, responses released although the fsync failed or took too long.", nil, nil)
	descNewer    = prometheus.NewDesc("wayside_spool_newer_epochs", "Epochs in the spool that a newer wayside recorded, and that wait until that version is started again.", nil, nil)
	descDegraded = prometheus.NewDesc("wayside_spool_degraded", "1 while events cannot be recorded or committed.", nil, nil)

	descWrongTokens = prometheus.NewDesc("wayside_admin_wrong_tokens_total", "Requests to the admin and the probes listener that had a wrong token.", nil, nil)

	descBooksUp       = prometheus.NewDesc("wayside_books_process_up", "1 while a books process is connected and answers.", nil, nil)
	descBooksRestarts = prometheus.NewDesc("wayside_books_process_restarts_total", "Times the books process was started again.", nil, nil)
)

// trafficMetrics collects from the parts of the traffic process.
type trafficMetrics struct{ t *traffic }

// Describe sends nothing: which label values exist is known only when collecting.
func (m *trafficMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends the present figures.
func (m *trafficMetrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge(descBuild, 1, version, revision())
	p := m.t.proxy.Metrics()
	gauge(descInFlight, float64(p.InFlight))
	gauge(descClientConns, float64(p.ClientConns))
	gauge(descUpstreamConns, float64(p.UpstreamIdle), "idle")
	gauge(descUpstreamConns, float64(p.UpstreamConns-p.UpstreamIdle), "busy")
	count(descRetries, float64(p.Retries))
	for class := 1; class < len(p.Responses); class++ {
		count(descResponses, float64(p.Responses[class]), strconv.Itoa(class)+"xx")
	}
	for kind, n := range p.Failures {
		count(descFailures, float64(n), kind)
	}
	m.upstreams(p.Upstreams, gauge, count)
	for _, u := range p.Upstreams {
		buckets := make(map[float64]uint64, len(u.FirstByte))
		for bound, n := range u.FirstByte {
			buckets[bound.Seconds()] = uint64(n)
		}
		out <- prometheus.MustNewConstHistogram(descUpFirstByte, uint64(u.FirstByteCount), u.FirstByteSum.Seconds(), buckets, u.Name)
	}
	count(descReloads, float64(m.t.reloads.ok.Load()), "ok")
	count(descReloads, float64(m.t.reloads.failed.Load()), "failed")
	gauge(descReloadedAt, float64(m.t.reloads.last.Load()))
	count(descLogLost, float64(m.t.logTo.Lost()))
	if m.t.access != nil {
		count(descLinesLost, float64(m.t.access.Dropped()+m.t.accessTo.Lost()))
	}
	m.spool(gauge, count)
	count(descWrongTokens, float64(m.t.admin.WrongTokens()))
	_, silent := m.t.admin.BooksSilent()
	gauge(descBooksUp, truth(!m.t.peer.away() && !silent))
	if m.t.child != nil {
		count(descBooksRestarts, float64(m.t.child.Status().Restarts))
	}
}

func (m *trafficMetrics) upstreams(list []proxy.UpstreamMetrics, gauge, count func(*prometheus.Desc, float64, ...string)) {
	for _, u := range list {
		gauge(descUpConns, float64(u.Idle), u.Name, "idle")
		gauge(descUpConns, float64(u.Conns-u.Idle), u.Name, "busy")
		count(descUpConnects, float64(u.Connects), u.Name, "ok")
		count(descUpConnects, float64(u.ConnectErrors), u.Name, "error")
		for class := 1; class < len(u.Responses); class++ {
			count(descUpResponses, float64(u.Responses[class]), u.Name, strconv.Itoa(class)+"xx")
		}
		for kind, n := range u.Failures {
			count(descUpFailures, float64(n), u.Name, kind)
		}
	}
}

func (m *trafficMetrics) spool(gauge, count func(*prometheus.Desc, float64, ...string)) {
	s := m.t.spool.Status()
	gauge(descPending, float64(s.PendingEvents))
	gauge(descAge, s.OldestAge.Seconds())
	gauge(descQueue, float64(s.QueueBytes))
	gauge(descSegments, float64(s.SegmentsInUse))
	gauge(descDegraded, truth(s.Degraded != ""))
	gauge(descNewer, float64(s.NewerEpochs))
	count(descCommits, float64(s.Commits), "ok")
	count(descCommits, float64(s.CommitErrors), "error")
	count(descCommits, float64(s.FullCommits), "full")
	count(descSetAside, float64(s.QuarantinedFiles))
	count(descGivenUp, float64(s.GivenUp))
	count(descUnsynced, float64(s.Unsynced))
	ledgers, err := m.t.spool.Ledgers(context.Background(), nil)
	if err != nil {
		return
	}
	for _, l := range ledgers {
		if l.Epoch != m.t.spool.Epoch() {
			continue
		}
		count(descRecorded, float64(l.Recorded))
		count(descExcluded, float64(l.Excluded))
		for _, reason := range spool.DropReasons() { // all: Prometheus sees no increase of a counter that was not there
			n := l.Dropped[reason]
			if reason == "damaged" {
				n += s.FoundLost // by this process, in what another left
			}
			count(descDropped, float64(n), reason)
		}
	}
}

func truth(v bool) float64 {
	if v {
		return 1
	}
	return 0
}

// are is counted with its verb: 1 event is, 2 events are.
func are(n uint64, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return terminal.Counted(n, what) + " are"
}

// checks are the lines of /readyz?verbose.
func (t *traffic) checks() []admin.Check {
	return []admin.Check{
		{Name: "proxy", State: func() (bool, string) {
			m := t.proxy.Metrics()
			return true, terminal.Counted(m.InFlight, "request") + " in flight, " + terminal.Counted(m.UpstreamConns, "upstream connection")
		}},
		{Name: "upstream", State: func() (bool, string) {
			if reason, since := t.proxy.UpstreamTrouble(); reason != "" {
				return false, reason + "; no success since " + since.UTC().Format(time.RFC3339)
			}
			return true, "no trouble"
		}},
		{Name: "spool", State: func() (bool, string) {
			s := t.spool.Status()
			if s.Degraded != "" {
				return false, s.Degraded + "; unrecorded responses are counted as dropped"
			}
			state := fmt.Sprintf("%s waiting, %d bytes of queue", terminal.Counted(s.PendingEvents, "event"), s.QueueBytes)
			if s.NewerEpochs > 0 {
				return false, state + "; " + terminal.Counted(s.NewerEpochs, "epoch") + " of a newer wayside: start that version again to have them in the books"
			}
			return true, state
		}},
		{Name: "books", State: func() (bool, string) {
			if t.peer.away() {
				return false, "the books process is away; " + t.meanwhile()
			}
			if since, silent := t.admin.BooksSilent(); silent {
				return false, "the books process is connected and has not answered since " + since.UTC().Format(time.RFC3339) +
					"; " + t.meanwhile()
			}
			return true, "connected"
		}},
		{Name: "archive", State: t.archiveState},
		{Name: "files", State: t.filesState},
	}
}
