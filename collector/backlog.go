package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/spool"
)

const (
	// backlogMin is the number of pending responses above which a backlog is logged. It corresponds to several steps of
	// the drain loop.
	backlogMin = 100_000
	// backlogLogInterval is the shortest time between two log lines about a backlog.
	backlogLogInterval = 10 * time.Second
)

// Backlog describes how far the drain loop has fallen behind, according to the latest comparison of ledgers.
type Backlog struct {
	Left uint64        // responses that are recorded but not yet applied
	Rate float64       // how fast Left decreases, in responses per second; 0 if Left does not decrease or the rate is unknown
	ETA  time.Duration // the time until Left reaches 0 at this rate; 0 if Rate is 0
}

// backlog is the state after the last comparison of ledgers; guarded by drainMu.
type backlog struct {
	left    uint64
	at      time.Time // includes the monotonic clock reading
	began   time.Time // when the backlog was first seen; zero without a backlog
	applied uint64    // events applied by this process when the backlog began
	logged  time.Time
}

// noteBacklog updates the status, and logs from time to time how much of the backlog is left. The caller holds drainMu.
func (c *Collector) noteBacklog(ledgers []spool.Ledger) {
	b, now := &c.backlog, time.Now() // not Options.Now: rates need the monotonic clock
	left := uint64(0)
	for i := range ledgers {
		left += ledgers[i].Spooled
	}
	applied := c.Status().Applied
	var view Backlog
	view.Left = left
	if since := now.Sub(b.at).Seconds(); !b.at.IsZero() && since > 0 && left < b.left {
		view.Rate = float64(b.left-left) / since
		view.ETA = time.Duration(float64(left) / view.Rate * float64(time.Second))
	}
	b.left, b.at = left, now
	c.updateStatus(func(s *Status) { s.Backlog = view })
	switch {
	case left >= backlogMin && now.Sub(b.logged) >= backlogLogInterval:
		if b.began.IsZero() {
			b.began, b.applied = now, applied
		}
		b.logged = now
		args := []any{"left", left, "applied", applied - b.applied, "since", now.Sub(b.began).Round(time.Second).String()}
		if view.Rate > 0 {
			args = append(args, "decrease_per_second", uint64(view.Rate), "done_in", view.ETA.Round(time.Second).String())
		}
		c.log.Info("catching up with the events in the spool", args...)
	case left < backlogMin && !b.began.IsZero():
		c.log.Info("caught up with the events in the spool",
			"applied", applied-b.applied, "took", now.Sub(b.began).Round(100*time.Millisecond).String())
		b.began, b.logged = time.Time{}, time.Time{}
	}
}

// registerBacklog adds the gauges of the backlog.
func registerBacklog(c *Collector, registry *prometheus.Registry) {
	for _, g := range []struct {
		name, help string
		value      func(Backlog) float64
	}{
		{"responses", "Responses that were recorded but not yet applied when ledgers were last compared.", func(b Backlog) float64 { return float64(b.Left) }},
		{"decrease_per_second", "Decrease of the backlog in responses per second; 0 if it does not decrease.", func(b Backlog) float64 { return b.Rate }},
		{"seconds", "Time until the backlog is applied at that rate; 0 without a rate.", func(b Backlog) float64 { return b.ETA.Seconds() }},
	} {
		registry.MustRegister(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: "wayside_collector_backlog_" + g.name, Help: g.help}, func() float64 { return g.value(c.Status().Backlog) }))
	}
}
