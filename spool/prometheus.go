package spool

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

var (
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
)

// NewCollector returns the figures of a Set for Prometheus. They are read when they are asked for.
func NewCollector(s *Set) prometheus.Collector { return collector{s} }

type collector struct{ s *Set }

// Describe sends nothing: which label values exist is known only when collecting.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the present figures.
func (c collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	s, degraded := c.s.Status(), 0.0
	if s.Degraded != "" {
		degraded = 1
	}
	gauge(descPending, float64(s.PendingEvents))
	gauge(descAge, s.OldestAge.Seconds())
	gauge(descQueue, float64(s.QueueBytes))
	gauge(descSegments, float64(s.SegmentsInUse))
	gauge(descDegraded, degraded)
	gauge(descNewer, float64(s.NewerEpochs))
	count(descCommits, float64(s.Commits), "ok")
	count(descCommits, float64(s.CommitErrors), "error")
	count(descCommits, float64(s.FullCommits), "full")
	count(descSetAside, float64(s.QuarantinedFiles))
	count(descGivenUp, float64(s.Expired))
	count(descUnsynced, float64(s.Unsynced))
	ledgers, err := c.s.Ledgers(context.Background(), nil)
	if err != nil {
		return
	}
	for _, l := range ledgers {
		if l.Epoch != c.s.Epoch() {
			continue
		}
		count(descRecorded, float64(l.Recorded))
		count(descExcluded, float64(l.Excluded))
		for _, reason := range DropReasons() { // all: Prometheus sees no increase of a counter that was not there
			n := l.Dropped[reason]
			if reason == "damaged" {
				n += s.FoundLost // by this process, in what another left
			}
			count(descDropped, float64(n), reason)
		}
	}
}
