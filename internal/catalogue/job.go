package catalogue

import "time"

// JobRunsMax is how many outcomes of a job are kept.
const JobRunsMax = 20

// JobRun is the outcome of one run of a scheduled job.
type JobRun struct {
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"duration_ns"`
	Objects  int           `json:"objects"`
	Rows     uint64        `json:"rows"`
	Bytes    uint64        `json:"bytes"`
	Error    string        `json:"error,omitempty"`
}

// JobState is what is remembered of a scheduled job across restarts.
type JobState struct {
	// Served is the moment up to which everything that was due has been done: when the last successful run began.
	Served   time.Time `json:"served"`
	Runs     uint64    `json:"runs"` // since the store was made
	Failures uint64    `json:"failures"`
	Recent   []JobRun  `json:"recent,omitempty"` // the newest last, at most JobRunsMax
	// Observed is the time during which processes ran that kept these books; of no job, see the uploader.
	Observed time.Duration `json:"observed_ns,omitempty"`
}

// Add enters an outcome.
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
