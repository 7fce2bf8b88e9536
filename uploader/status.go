package uploader

import (
	"context"
	"errors"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

const (
	jobArchive = "archive"
	jobClean   = "clean"
)

// Status describes all jobs, for readiness, metrics and the dashboard. It is the state after the last step of a job and
// reads nothing.
type Status struct {
	Target string `json:"target"`
	// Unusable is why the archive could not be used when it was last tried, empty if it could or was not tried yet.
	Unusable string    `json:"unusable,omitempty"`
	Archive  JobStatus `json:"archive"`
	Clean    JobStatus `json:"clean"`
	// Jobs are the other jobs, by name.
	Jobs map[string]JobStatus `json:"jobs,omitempty"`

	// PendingEvents is the number of responses that were applied and not planned when the last archive job looked, as far as
	// the store lists them in one go, less what was planned since. OpenPlans are stored and not verified.
	PendingEvents uint64 `json:"pending_events"`
	OpenPlans     int    `json:"open_plans"`
	// Since the process began.
	ArchivedObjects uint64 `json:"archived_objects"`
	ArchivedRows    uint64 `json:"archived_rows"`
	ArchivedBytes   uint64 `json:"archived_bytes"` // compressed
	DeletedRows     uint64 `json:"deleted_rows"`
}

// errorBytesMax bounds the text of an error that is kept or logged: it may hold what a server said.
const errorBytesMax = 1000

// JobStatus is how a job has fared.
type JobStatus struct {
	Running             bool      `json:"running"`
	LastSuccess         time.Time `json:"last_success,omitzero"`
	LastError           string    `json:"last_error,omitempty"` // of the last run; empty after a success
	LastErrorAt         time.Time `json:"last_error_at,omitzero"`
	ConsecutiveFailures int       `json:"consecutive_failures"`
	NextTry             time.Time `json:"next_try,omitzero"` // zero while Run is not running
	Last                Result    `json:"last"`
}

// Status returns a copy of the current state.
func (u *Uploader) Status() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.status
	s.Jobs = map[string]JobStatus{}
	for name, job := range u.jobs {
		s.Jobs[name] = *job
	}
	s.Target = u.o.Target.String()
	return s
}

// Job returns the status of a job by its name.
func (s *Status) Job(name string) JobStatus {
	switch name {
	case jobArchive:
		return s.Archive
	case jobClean:
		return s.Clean
	}
	return s.Jobs[name]
}

// runJob runs one job with the token held and records how it went.
func (u *Uploader) runJob(ctx context.Context, job string, fn func(context.Context, *Result) error) (Result, error) {
	r := Result{Job: job}
	select {
	case <-ctx.Done():
		return r, ctx.Err()
	case <-u.job:
	}
	defer func() { u.job <- struct{}{} }()

	r.Started = u.o.Now().UTC()
	u.update(job, func(s *JobStatus) { s.Running = true })
	err := fn(ctx, &r)
	u.rememberObserved()
	now := u.o.Now().UTC()
	r.Duration = max(now.Sub(r.Started), 0)
	if err != nil {
		r.Error = printable(err.Error(), errorBytesMax)
	}
	u.update(job, func(s *JobStatus) { s.finish(r, err, now) })
	if r.Objects+r.Expired > 0 {
		u.o.Logger.Info("job done", "job", job, "objects", r.Objects, "rows", r.Rows, "bytes", r.Bytes, "kept", r.Kept, "expired", r.Expired, "duration", r.Duration)
	}
	return r, err
}

func (s *JobStatus) finish(r Result, err error, now time.Time) {
	s.Running = false
	s.Last = r
	switch {
	case err == nil:
		s.LastSuccess, s.LastError, s.ConsecutiveFailures = now, "", 0
	case errors.Is(err, context.Canceled): // somebody's wish, not a failure
	default:
		s.LastError, s.LastErrorAt = r.Error, now
		s.ConsecutiveFailures++
	}
}

func (u *Uploader) update(job string, fn func(*JobStatus)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch job {
	case jobArchive:
		fn(&u.status.Archive)
	case jobClean:
		fn(&u.status.Clean)
	default:
		if u.jobs[job] == nil {
			u.jobs[job] = &JobStatus{}
		}
		fn(u.jobs[job])
	}
}

func (u *Uploader) noteOpen(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status.OpenPlans = n
}

func (u *Uploader) noteDeleted(p *catalogue.Plan) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status.DeletedRows += p.Rows
}

func (u *Uploader) noteNext(job string, at time.Time) {
	u.update(job, func(s *JobStatus) { s.NextTry = at })
}

func (u *Uploader) notePending(pending []catalogue.Pending) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status.PendingEvents = 0
	for i := range pending {
		u.status.PendingEvents += pending[i].Rows
	}
}

func (u *Uploader) notePlanned(p *catalogue.Plan) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status.PendingEvents -= min(p.Rows, u.status.PendingEvents)
	u.status.OpenPlans++
}

func (u *Uploader) noteArchived(p *catalogue.Plan) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status.OpenPlans = max(u.status.OpenPlans-1, 0)
	u.status.ArchivedObjects++
	u.status.Unusable = ""
	u.status.ArchivedRows += p.Rows
	u.status.ArchivedBytes += p.ObjectBytes
}
