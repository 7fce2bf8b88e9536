package spool

import (
	"log/slog"
	"time"
)

// dropLogInterval is the least time between two lines of the log about drops that go on.
const dropLogInterval = 10 * time.Second

// dropLog writes log lines about drops: when they begin, at intervals while they go on, and when they have ended. Owned by Run.
type dropLog struct {
	total  uint64    // dropped, at the last look
	logged uint64    // dropped, as the log says
	at     time.Time // of the last line about drops; zero while there are none
}

// log looks at the counters of the active epoch and writes a line if it is time for one.
func (d *dropLog) log(s *Set, now time.Time) {
	reasons, total := s.current.counters.droppedByReason()
	s.mu.Lock()
	cause := s.degraded
	s.mu.Unlock()
	moving := total != d.total
	d.total = total
	switch {
	case total > d.logged && now.Sub(d.at) >= dropLogInterval:
		args := []any{slog.Uint64("responses", total-d.logged), slog.Uint64("since_start", total)}
		for reason, n := range reasons {
			args = append(args, slog.Uint64("since_start_"+reason, n))
		}
		if cause != "" {
			args = append(args, slog.String("cause", cause))
		}
		s.o.Logger.Warn("responses are dropped from the books, and counted", args...)
		d.logged, d.at = total, now
	case !moving && total == d.logged && !d.at.IsZero():
		s.o.Logger.Info("no more responses are dropped from the books", "since_start", total)
		d.at = time.Time{}
	}
}
