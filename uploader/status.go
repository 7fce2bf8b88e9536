package uploader

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"
)

// Names of the uploader's own jobs.
const (
	JobArchive = "archive"
	JobClean   = "clean"
)

// Status describes all jobs, for readiness, metrics and the dashboard, as of the last step of a job.
type Status struct {
	Target   string
	Unusable string               // why the last test of the archive failed; empty if the test succeeded or there has been no test
	Jobs     map[string]JobStatus // by name

	// PendingEvents is the number of responses that had been applied but not planned when the last archive job listed them, minus those
	// planned since then. The list may have been incomplete.
	PendingEvents uint64
	OpenPlans     int // number of plans that are stored but whose objects have not been verified
	// Counters since the process started:
	ArchivedObjects uint64
	ArchivedRows    uint64
	ArchivedBytes   uint64 // compressed size
	DeletedRows     uint64
}

// errorBytesMax limits the error text that is kept or logged, because it may quote a server.
const errorBytesMax = 1000

// JobStatus describes the last runs of a job.
type JobStatus struct {
	Running             bool
	LastSuccess         time.Time
	LastError           string // error of the last run; empty after a success
	ConsecutiveFailures int
	NextTry             time.Time // zero while Run is not running
	Last                Result
}

// statusBoard holds the status, which is read while jobs are running.
type statusBoard struct {
	mu  sync.Mutex
	now Status // guarded by mu
}

func newStatusBoard(target string) *statusBoard {
	return &statusBoard{now: Status{Target: target, Jobs: map[string]JobStatus{}}}
}

func (b *statusBoard) change(fn func(*Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fn(&b.now)
}

func (b *statusBoard) changeJob(name string, fn func(*JobStatus)) {
	b.change(func(s *Status) {
		job := s.Jobs[name]
		fn(&job)
		s.Jobs[name] = job
	})
}

// Status returns a copy of the current state.
func (u *Uploader) Status() (s Status) {
	u.status.change(func(now *Status) {
		s = *now
		s.Jobs = maps.Clone(now.Jobs)
	})
	return s
}

func (s *JobStatus) finish(r Result, err error, now time.Time) {
	s.Running = false
	s.Last = r
	switch {
	case err == nil:
		s.LastSuccess, s.LastError, s.ConsecutiveFailures = now, "", 0
	case errors.Is(err, context.Canceled): // the caller canceled it, which is not a failure
	default:
		s.LastError = r.Error
		s.ConsecutiveFailures++
	}
}
