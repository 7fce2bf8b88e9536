package journal

import "os"

// Pending returns the records and responses that are published in the active segment, how full it is, and whether
// segments wait in the sealed list.
func (j *Journal) Pending() (p Pending) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p.Sealed = len(j.sealed)
	for _, s := range j.sealed {
		records, responses := s.Published()
		p.Records, p.Responses = p.Records+records, p.Responses+responses
	}
	p.Free = len(j.freeList)
	if s := j.active.Load(); s != nil && !s.isSealed() {
		records, responses := s.Published()
		p.Records, p.Responses = p.Records+records, p.Responses+responses
		p.ActiveRecords = s.reserved()
		p.HalfFull = s.offset() >= j.half
	}
	return p
}

// Pending is what the journal holds that Sealed has not handed out yet.
type Pending struct {
	Records, Responses uint64 // published, active segment included
	ActiveRecords      uint64 // reserved in the active segment
	Sealed, Free       int    // segments
	HalfFull           bool   // the active segment
}

// Repair replaces one recycled segment whose mapping failed by a new file, and removes the old one. It does nothing when
// there is none.
func (j *Journal) Repair() error {
	j.mu.Lock()
	number, needed := j.nextNumber, len(j.failed) > 0 && !j.closed.Load()
	j.mu.Unlock()
	if !needed {
		return nil
	}
	s, err := createSegment(j.o, number) // without the lock: appenders must not wait for the disk
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.nextNumber++
	old := j.failed[0]
	j.failed = j.failed[1:]
	for i := range j.all {
		if j.all[i] == old {
			j.all[i] = s
		}
	}
	old.unmap()
	_ = os.Remove(j.path(old.number)) // what stays is recovered, and found committed, at the next start
	j.recycleLocked(s)
	return nil
}
