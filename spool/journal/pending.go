package journal

import "os"

// Pending describes the records that Sealed has not returned yet.
type Pending struct {
	Records, Responses uint64 // published, including those in the active segment
	ActiveRecords      uint64 // reserved in the active segment
	Sealed, Free       int    // number of segments
	HalfFull           bool   // whether the active segment is half full
}

// Pending describes the records in the journal that Sealed has not returned yet.
func (j *Journal) Pending() (p Pending) {
	j.mu.Lock()
	defer j.mu.Unlock()
	add := func(s *Segment) {
		records, responses := s.Published()
		p.Records, p.Responses = p.Records+records, p.Responses+responses
	}
	p.Sealed, p.Free = len(j.sealed), len(j.freeList)
	for _, s := range j.sealed {
		add(s)
	}
	if s := j.active.Load(); s != nil && !s.isSealed() {
		add(s)
		p.ActiveRecords = s.reserved()
		p.HalfFull = s.offset() >= j.half
	}
	return p
}

// Repair looks for a recycled segment whose mapping has failed. If there is one, it creates a new file for the segment and removes the
// old file.
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
	_ = os.Remove(j.path(old.number)) // if the file remains, the next start finds that its records have been committed
	j.recycleLocked(s)
	return nil
}
