package catalogue

import "time"

// JobRunsMax is the number of results of a job that are kept.
const JobRunsMax = 20

// JobRun is the result of one run of a scheduled job.
type JobRun struct {
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"duration_ns"`
	Objects  int           `json:"objects"`
	Rows     uint64        `json:"rows"`
	Bytes    uint64        `json:"bytes"`
	Error    string        `json:"error,omitempty"`
}

// JobState is the stored state of a scheduled job.
type JobState struct {
	// Served is the time at which the last successful run began: everything that was due up to that time has been done.
	Served   time.Time `json:"served"`
	Runs     uint64    `json:"runs"` // since the store was created
	Failures uint64    `json:"failures"`
	Recent   []JobRun  `json:"recent,omitempty"` // newest last, at most JobRunsMax
	// Observed is the total time that wayside has been running. It does not belong to a job: the uploader stores it under a separate
	// name.
	Observed time.Duration `json:"observed_ns,omitempty"`
}

// Add adds a result.
func (s *JobState) Add(r JobRun) {
	s.Runs++
	if r.Error != "" {
		s.Failures++
	}
	s.Recent = append(s.Recent, r)
	if n := len(s.Recent) - JobRunsMax; n > 0 {
		s.Recent = append(s.Recent[:0:0], s.Recent[n:]...)
	}
}
