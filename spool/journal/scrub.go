package journal

import (
	"slices"

	"github.com/wayside-proxy/wayside/internal/memfault"
)

// Scrub overwrites with zeroes what committed records have left in segments that are free, and moves on from an active
// segment without records, so that it can be overwritten too. Appending goes on meanwhile: a segment is taken off the free
// list for the time, and only while another is on it. It reports whether nothing of an earlier use is left in any segment;
// those that are sealed or hold records have to be committed and recycled first.
func (j *Journal) Scrub() (clean bool) {
	j.leaveEmpty()
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

// leaveEmpty seals an active segment without records whose room has been used before, frees it, and activates another.
func (j *Journal) leaveEmpty() {
	j.mu.Lock()
	defer j.mu.Unlock()
	a := j.active.Load()
	if a == nil || a.clean || len(j.freeList) < 2 || j.closed.Load() || !a.state.CompareAndSwap(headerBytes, sealedBit|headerBytes) {
		return
	}
	if j.activateLocked() {
		j.freeList = slices.Insert(j.freeList, 0, a)
		j.free.Store(int32(len(j.freeList)))
	}
}

// takeDirty takes a free segment that is not clean off the list, unless it is the last on it.
func (j *Journal) takeDirty() *Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := slices.IndexFunc(j.freeList, func(s *Segment) bool { return !s.clean })
	if at < 0 || len(j.freeList) < 2 || j.closed.Load() {
		return nil
	}
	s := j.freeList[at]
	j.freeList = slices.Delete(j.freeList, at, at+1)
	j.free.Store(int32(len(j.freeList)))
	return s
}

// clear overwrites the records of a segment that is out of use. The header stays: it says what was committed. A segment
// whose mapping faults is found to be bad when it is used again.
func (s *Segment) clear() {
	_ = memfault.Catch(func() { clear(s.data[headerBytes:]) })
	s.clean = true
}
