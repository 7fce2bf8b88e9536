package journal

import (
	"slices"

	"github.com/wayside-proxy/wayside/internal/memfault"
)

// Scrub overwrites old records in free segments with zeroes. If the active segment has no records yet, Scrub activates another segment,
// so that it can also overwrite the old one. Appends continue: Scrub takes a segment off the free list while it overwrites the segment,
// and does so only if another one is on the list. Scrub reports whether all records of earlier uses are gone from all segments. Segments
// that are sealed or have records must be committed and recycled first.
func (j *Journal) Scrub() (clean bool) {
	j.replaceEmpty()
	for {
		s := j.takeDirty()
		if s == nil {
			break
		}
		s.clear()
		j.mu.Lock()
		j.recycleLocked(s)
		j.mu.Unlock()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	dirty := slices.ContainsFunc(j.freeList, func(s *Segment) bool { return !s.clean })
	a := j.active.Load()
	return !dirty && a != nil && !a.isSealed() && a.clean && len(j.freeList)+1 == len(j.all)
}

// replaceEmpty activates another segment if the active one has no new records but may still contain some from an earlier use.
func (j *Journal) replaceEmpty() {
	j.mu.Lock()
	defer j.mu.Unlock()
	a := j.active.Load()
	if a == nil || a.clean || len(j.freeList) < 2 || j.closed.Load() || !a.state.CompareAndSwap(headerBytes, sealedBit|headerBytes) {
		return
	}
	if j.activateLocked() {
		j.setFreeLocked(slices.Insert(j.freeList, 0, a))
	}
}

// takeDirty removes a segment that is not clean from the free list, unless it is the only one there.
func (j *Journal) takeDirty() *Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := slices.IndexFunc(j.freeList, func(s *Segment) bool { return !s.clean })
	if at < 0 || len(j.freeList) < 2 || j.closed.Load() {
		return nil
	}
	s := j.freeList[at]
	j.setFreeLocked(slices.Delete(j.freeList, at, at+1))
	return s
}

// clear overwrites the records in a segment that is not in use. The header is kept, because recovery needs it. If the mapping faults,
// the next use of the segment will detect that.
func (s *Segment) clear() {
	_ = memfault.Catch(func() { clear(s.data[headerBytes:]) })
	s.clean = true
}
