package collector

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/spool"
)

// TestBacklogIsReported: status and metrics show that a backlog is decreasing, and the log reports it from time to
// time, including its end.
func TestBacklogIsReported(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	look := func(left uint64) Backlog {
		r.drainMu.Lock()
		defer r.drainMu.Unlock()
		r.noteBacklog([]spool.Ledger{{Epoch: uuid.UUID{1}, Spooled: left - left/3}, {Epoch: uuid.UUID{2}, Spooled: left / 3}})
		return r.Status().Backlog
	}
	if b := look(5 * backlogMin); b.Left != 5*backlogMin || b.Rate != 0 || b.ETA != 0 {
		t.Errorf("at first: %+v", b)
	}
	if b := look(4 * backlogMin); b.Left != 4*backlogMin || b.Rate <= 0 || b.ETA <= 0 {
		t.Errorf("decreasing: %+v", b)
	}
	families, err := r.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "wayside_collector_backlog_") && f.GetMetric()[0].GetGauge().GetValue() > 0 {
			found++
		}
	}
	if found != 3 {
		t.Errorf("%d metrics of the backlog", found)
	}
	if b := look(6 * backlogMin); b.Rate != 0 {
		t.Errorf("increasing: %+v", b)
	}
	for range 100 {
		look(2 * backlogMin)
	}
	if n := strings.Count(log.String(), "catching up"); n != 1 {
		t.Errorf("%d lines at once:\n%s", n, &log)
	}
	look(0)
	look(0)
	if n := strings.Count(log.String(), "caught up"); n != 1 {
		t.Errorf("the end was logged %d times:\n%s", n, &log)
	}
}
