package spool

import (
	"log/slog"
	"time"
)

// dropLogInterval is the shortest time between two log lines about continuing drops.
const dropLogInterval = 10 * time.Second

// dropLog logs drops: when they begin, at intervals while they continue, and when they have ended. Run owns it.
type dropLog struct {
	total  uint64    // drops at the last call
	logged uint64    // drops logged so far
	at     time.Time // time of the last line about drops; zero if they have ended
}

// log reads the counters of the current epoch and writes a line if one is due.
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
		s.o.Logger.Warn("responses are being dropped from the books; they are counted as dropped", args...)
		d.logged, d.at = total, now
	case !moving && total == d.logged && !d.at.IsZero():
		s.o.Logger.Info("responses are no longer being dropped from the books", "since_start", total)
		d.at = time.Time{}
	}
}
