package spool

import "time"

// Status describes a Set for readiness, metrics and logs.
type Status struct {
	Degraded         string        // why events cannot be recorded or committed; empty if they can
	QueueBytes       int64         // size of all queue files on disk
	PendingEvents    uint64        // records that have not been acknowledged, including those in the journal
	OldestAge        time.Duration // age of the oldest committed batch that has not been acknowledged
	Epochs           int           // folders in use, including the current one
	NewerEpochs      int           // folders that wait for the newer wayside that wrote them, whether taken over or not
	SegmentsInUse    int           // journal segments that are not free
	SegmentsUsable   int           // journal segments that have not failed
	Commits          uint64        // successful commits since Open
	CommitErrors     uint64        // failed commits, except those that FullCommits counts
	FullCommits      uint64        // commits that failed because the queue was full
	JournalFaults    uint64        // faults of mapped journal segments
	QuarantinedFiles uint64        // damaged files and batches since Open
	FoundLost        uint64        // responses of earlier processes that were found lost since Open; their ledgers count them as dropped (damaged)
	Expired          uint64        // responses that have expired since Open, including those of earlier processes
	Unsynced         uint64        // with SyncEachResponse: responses released although the fsync failed or took too long
}

// Status returns the current state.
func (s *Set) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Degraded: s.degraded, Epochs: len(s.epochs), NewerEpochs: int(s.newerFolders.Load()),
		Commits: s.commits.Load(), CommitErrors: s.commitErrors.Load(), FullCommits: s.fullCommits.Load(), Unsynced: s.unsynced.Load(),
		QuarantinedFiles: s.quarantine.count.Load(), Expired: s.expired.Load(), FoundLost: s.foundLost.Load(),
	}
	var oldest time.Time
	for _, e := range s.epochs {
		if e.newer {
			st.NewerEpochs++
		}
		for _, q := range e.files {
			st.QueueBytes += q.Bytes()
		}
		for i := range e.index {
			st.PendingEvents += uint64(e.index[i].Records)
			if at := e.index[i].at; oldest.IsZero() || at.Before(oldest) {
				oldest = at
			}
		}
		for _, seg := range e.taken {
			records, _ := seg.Published()
			st.PendingEvents += records
		}
	}
	if !oldest.IsZero() {
		st.OldestAge = max(0, s.o.Now().Sub(oldest))
	}
	if j := s.journal.Load(); j != nil {
		p := j.Pending()
		st.PendingEvents += p.Records
		st.JournalFaults, st.SegmentsUsable = j.Faults(), j.Usable()
		st.SegmentsInUse = st.SegmentsUsable - p.Free
	}
	return st
}
