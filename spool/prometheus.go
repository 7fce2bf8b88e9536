package spool

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	descRecorded = prometheus.NewDesc("wayside_spool_recorded_total", "Responses recorded since the traffic process started.", nil, nil)
	descDropped  = prometheus.NewDesc("wayside_spool_dropped_total", "Responses dropped from the books since the traffic process started, by reason; damaged includes responses of earlier processes that were found lost.", []string{"reason"}, nil)
	descExcluded = prometheus.NewDesc("wayside_spool_excluded_total", "Responses that record.exclude kept out of the books since the traffic process started.", nil, nil)
	descPending  = prometheus.NewDesc("wayside_spool_pending_events", "Events waiting for the books process.", nil, nil)
	descAge      = prometheus.NewDesc("wayside_spool_oldest_age_seconds", "Age of the oldest waiting batch.", nil, nil)
	descQueue    = prometheus.NewDesc("wayside_spool_queue_bytes", "Size of the queue files.", nil, nil)
	descSegments = prometheus.NewDesc("wayside_spool_journal_segments_in_use", "Journal segments in use.", nil, nil)
	descCommits  = prometheus.NewDesc("wayside_spool_commits_total", "Commits to the queue, by result.", []string{"result"}, nil)
	descSetAside = prometheus.NewDesc("wayside_spool_quarantined_files_total", "Damaged files and values set aside.", nil, nil)
	descGivenUp  = prometheus.NewDesc("wayside_spool_given_up_total", "Responses dropped because they waited longer than spool.age_max, including those left by earlier processes.", nil, nil)
	descUnsynced = prometheus.NewDesc("wayside_spool_unsynced_total", "With spool.sync: request, responses released although the fsync failed or took too long.", nil, nil)
	descNewer    = prometheus.NewDesc("wayside_spool_newer_epochs", "Epochs recorded by a newer wayside, which wait in the spool until that version is started again.", nil, nil)
	descDegraded = prometheus.NewDesc("wayside_spool_degraded", "1 while events cannot be recorded or committed.", nil, nil)
)

// NewCollector returns a Prometheus collector that reads the figures of a Set at each scrape.
func NewCollector(s *Set) prometheus.Collector { return collector{s} }

type collector struct{ s *Set }

// Describe sends nothing, which makes this an unchecked collector.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the current figures.
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
		for _, reason := range DropReasons() { // all of them, even at 0: rate() misses the first increase of a counter that did not exist before
			n := l.Dropped[reason]
			if reason == "damaged" {
				n += s.FoundLost // lost by earlier processes, found by this one
			}
			count(descDropped, float64(n), reason)
		}
	}
}
