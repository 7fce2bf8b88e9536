package uploader

import "github.com/prometheus/client_golang/prometheus"

// Metrics returns the metrics of the archive and of all jobs. Their values are read at each scrape.
func (u *Uploader) Metrics() prometheus.Gatherer {
	registry := prometheus.NewRegistry()
	add := func(name, help string, value func(Status) float64, counter bool) {
		read := func() float64 { return value(u.Status()) }
		if counter {
			registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "wayside_archive_" + name, Help: help}, read))
			return
		}
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wayside_archive_" + name, Help: help}, read))
	}
	add("objects_total", "Objects archived and verified by this process.", func(s Status) float64 { return float64(s.ArchivedObjects) }, true)
	add("rows_total", "Responses archived and verified by this process.", func(s Status) float64 { return float64(s.ArchivedRows) }, true)
	add("bytes_total", "Compressed bytes archived by this process.", func(s Status) float64 { return float64(s.ArchivedBytes) }, true)
	add("deleted_rows_total", "Local events deleted by retention in this process.", func(s Status) float64 { return float64(s.DeletedRows) }, true)
	add("pending_events", "Responses that were applied but not yet in a plan when the job last looked.", func(s Status) float64 { return float64(s.PendingEvents) }, false)
	add("open_plans", "Plans that are stored but not yet verified.", func(s Status) float64 { return float64(s.OpenPlans) }, false)
	add("consecutive_failures", "Archive jobs that failed since the last success.", func(s Status) float64 { return float64(s.Jobs[JobArchive].ConsecutiveFailures) }, false)
	add("last_success_timestamp_seconds", "When the archive job last succeeded; 0 if it never has.", func(s Status) float64 { return s.Jobs[JobArchive].successSeconds() }, false)
	names := []string{JobArchive, JobClean}
	for i := range u.o.Jobs {
		names = append(names, u.o.Jobs[i].Name)
	}
	for _, name := range names {
		labels := prometheus.Labels{"job_name": name}
		gauge := func(metric, help string, value func(JobStatus) float64) {
			registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wayside_job_" + metric, Help: help, ConstLabels: labels},
				func() float64 { return value(u.Status().Jobs[name]) }))
		}
		gauge("last_success_timestamp_seconds", "When the job last succeeded in this process; 0 if it never has.", JobStatus.successSeconds)
		gauge("consecutive_failures", "Runs that failed since the last success.", func(s JobStatus) float64 { return float64(s.ConsecutiveFailures) })
		gauge("last_duration_seconds", "How long the last run took.", func(s JobStatus) float64 { return s.Last.Duration.Seconds() })
	}
	return registry
}

func (s JobStatus) successSeconds() float64 {
	if s.LastSuccess.IsZero() {
		return 0
	}
	return float64(s.LastSuccess.Unix())
}
