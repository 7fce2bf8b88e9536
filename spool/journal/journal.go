package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/memfault"
)

// Result says what became of an append.
type Result uint8

// Results of [Journal.Append].
const (
	Appended Result = iota // published; survives the death of the process
	Full                   // every segment waits for its commit
	Fault                  // the mapping failed under the copy; the segment is retired
	Closed                 // the journal no longer takes records
	TooLarge               // the record would fill more than half a segment
)

// Limits of Options.
const (
	SegmentBytesMin = 64 << 10
	SegmentBytesMax = 32 << 20
	SegmentsMin     = 2
	SegmentsMax     = 64
)

// ErrOptions is returned by Create for options outside their limits.
var ErrOptions = errors.New("journal options outside limits")

// Options configure Create. Nothing is defaulted here: package spool does that.
type Options struct {
	Dir          string    // existing folder; the journal owns journal-*.seg in it
	Epoch        uuid.UUID // identity that seeds every checksum
	SegmentBytes int       // SegmentBytesMin..SegmentBytesMax, a multiple of 4096
	Segments     int       // SegmentsMin..SegmentsMax
	OpenFile     func(name string, flag int, perm os.FileMode) (*os.File, error)
	// Notify is called without locks held when the committer has a reason to look: a segment got its first record, is
	// half full, or was sealed. It must not block.
	Notify func()
}

// Journal is a set of segments of one epoch. Append may be called from any number of goroutines; the methods of the
// committing side (Seal, Sealed, Recycle, Close) by one at a time.
type Journal struct {
	o      Options
	half   uint64
	active atomic.Pointer[Segment]
	free   atomic.Int32 // len(freeList), readable without mu
	closed atomic.Bool
	faults atomic.Uint64

	mu         sync.Mutex // guards what follows; held for list operations and header writes only
	freeList   []*Segment // last in, first out
	sealed     []*Segment // oldest generation first, waiting for Sealed
	all        []*Segment
	failed     []*Segment // recycled, but not to be used again
	held       []*Segment // see Hold
	generation uint64
	nextSeq    uint64
	nextNumber int
}

// Create makes the segment files, with real blocks, and activates the first. When it fails, it removes what it made.
func Create(o Options) (*Journal, error) {
	if o.SegmentBytes < SegmentBytesMin || o.SegmentBytes > SegmentBytesMax || o.SegmentBytes%headerBytes != 0 ||
		o.Segments < SegmentsMin || o.Segments > SegmentsMax {
		return nil, fmt.Errorf("%w: %d segments of %d bytes", ErrOptions, o.Segments, o.SegmentBytes)
	}
	if o.OpenFile == nil {
		o.OpenFile = os.OpenFile
	}
	if o.Notify == nil {
		o.Notify = func() {}
	}
	j := &Journal{o: o, half: uint64(o.SegmentBytes / 2), nextSeq: 1}
	for i := range o.Segments {
		s, err := createSegment(o, i)
		if err != nil {
			j.unmapAll()
			j.removeAll()
			return nil, err
		}
		j.all = append(j.all, s)
	}
	for i := len(j.all) - 1; i >= 0; i-- { // so that segment 0 is on top
		j.freeList = append(j.freeList, j.all[i])
	}
	j.free.Store(int32(len(j.freeList)))
	j.nextNumber = o.Segments
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.activateLocked() {
		j.unmapAll()
		j.removeAll()
		return nil, fmt.Errorf("create journal in %s: the mapping cannot be written", o.Dir)
	}
	return j, nil
}

func (j *Journal) path(i int) string { return segmentPath(j.o.Dir, i) }

func segmentPath(dir string, i int) string {
	return filepath.Join(dir, fmt.Sprintf("journal-%02d.seg", i))
}

// Append writes the event as the next record and returns its seq. It never blocks for longer than another appender takes
// to change segments, and never panics.
func (j *Journal) Append(e *event.Event) (uint64, Result) {
	size := e.Size()
	need := recordBytes(size)
	if need > j.half-headerBytes {
		return 0, TooLarge
	}
	for {
		s := j.active.Load()
		if s == nil {
			return 0, j.whyNot()
		}
		crash.Point("spool.reserve.before")
		offset, index, ok := s.reserve(need)
		if !ok {
			if j.free.Load() == 0 && s.isSealed() {
				return 0, j.whyNot()
			}
			if !j.rotate(s) {
				return 0, j.whyNot()
			}
			continue
		}
		if index == 0 || (offset < j.half && offset+need >= j.half) {
			defer j.o.Notify()
		}
		return j.write(s, e, offset, s.firstSeq+index, size)
	}
}

func (j *Journal) whyNot() Result {
	if j.closed.Load() {
		return Closed
	}
	return Full
}

// write fills a reservation. The mapping may answer with SIGBUS (a hole in the file, a dying disk): the reservation is
// then counted as done without a record, and the segment is retired.
func (j *Journal) write(s *Segment, e *event.Event, offset, seq uint64, size int) (uint64, Result) {
	crash.Point("spool.reserve.after")
	err := memfault.Catch(func() {
		n := e.Encode(s.data[offset+recordHeaderBytes : offset+recordHeaderBytes+uint64(size)])
		crash.Point("spool.publish.before")
		s.publish(offset, seq, n)
	})
	if err != nil {
		j.retire(s)
		s.done.Add(1)
		return 0, Fault
	}
	crash.Point("spool.publish.after")
	if e.IsResponse() {
		s.done.Add(1 | 1<<32)
	} else {
		s.done.Add(1)
	}
	return seq, Appended
}

// retire seals a segment whose mapping faulted and keeps it from being used again.
func (j *Journal) retire(s *Segment) {
	s.bad.Store(true)
	j.faults.Add(1)
	j.rotate(s)
}

// rotate seals old, if it is still the active segment, and activates a free one. It reports whether there is an active
// segment to try again with.
func (j *Journal) rotate(old *Segment) bool {
	j.mu.Lock()
	if j.active.Load() != old {
		more := j.active.Load() != nil
		j.mu.Unlock()
		return more
	}
	j.sealLocked(old)
	ok := !j.closed.Load() && j.activateLocked()
	j.mu.Unlock()
	j.o.Notify()
	return ok
}

// sealLocked closes reservations of the active segment and puts it on the sealed list, once.
func (j *Journal) sealLocked(s *Segment) {
	crash.Point("spool.seal.before")
	records, sealedNow := s.seal()
	if !sealedNow {
		return
	}
	j.nextSeq = s.firstSeq + records
	j.sealed = append(j.sealed, s)
	crash.Point("spool.seal.after")
}

// activateLocked takes the most recently freed segment into use. Without one, the sealed segment stays in place, so that
// appenders find it and are refused.
func (j *Journal) activateLocked() bool {
	for len(j.freeList) > 0 {
		s := j.freeList[len(j.freeList)-1]
		j.freeList = j.freeList[:len(j.freeList)-1]
		j.free.Store(int32(len(j.freeList)))
		j.generation++
		if s.begin(j.generation, j.nextSeq) {
			j.active.Store(s)
			return true
		}
		s.bad.Store(true)
		j.faults.Add(1)
		j.failed = append(j.failed, s)
	}
	return false
}

// Seal closes the active segment for reservations if it holds records. Unless force is set, it does so only when another
// segment can take over; it reports whether something was sealed.
func (j *Journal) Seal(force bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.active.Load()
	if s == nil || s.isSealed() || s.reserved() == 0 || (len(j.freeList) == 0 && !force) {
		return false
	}
	j.sealLocked(s)
	if !j.closed.Load() {
		j.activateLocked()
	}
	return true
}

// Sealed returns the sealed segments that were not returned before, oldest first, and the seq up to which every record is
// in them or in earlier ones. Read together: a segment that is sealed a moment later is in neither.
func (j *Journal) Sealed() (segments []*Segment, through uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	segments, j.sealed = j.sealed, nil
	through = j.nextSeq - 1
	return segments, through
}

// Recycle makes a segment free again; the caller answers for its records being durable elsewhere. A segment whose mapping
// faulted is not used again.
func (j *Journal) Recycle(s *Segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s.bad.Load() {
		j.failed = append(j.failed, s)
		return
	}
	s.clean = s.clean && s.reserved() == 0
	j.recycleLocked(s)
}

// Hold keeps a segment whose records have just been committed elsewhere, until a later commit has followed ([Journal.RecycleHeld]):
// what wrote the commit may turn out to have lost it, and the records must then be committed again.
func (j *Journal) Hold(s *Segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = append(j.held, s)
}

// Held is the number of segments held.
func (j *Journal) Held() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.held)
}

// HeldSegments lists the segments held, oldest first.
func (j *Journal) HeldSegments() []*Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.held)
}

// RecycleHeld makes the segments held free again.
func (j *Journal) RecycleHeld() {
	j.mu.Lock()
	held := j.held
	j.held = nil
	j.mu.Unlock()
	for _, s := range held {
		j.Recycle(s)
	}
}

func (j *Journal) recycleLocked(s *Segment) {
	j.freeList = append(j.freeList, s)
	j.free.Store(int32(len(j.freeList)))
	if a := j.active.Load(); !j.closed.Load() && (a == nil || a.isSealed()) {
		j.activateLocked()
	}
}

// LastSeq is the highest seq that was reserved so far; 0 before the first.
func (j *Journal) LastSeq() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.active.Load(); s != nil && !s.isSealed() {
		return s.firstSeq + s.reserved() - 1
	}
	return j.nextSeq - 1
}

// Faults is the number of segments whose mapping failed.
func (j *Journal) Faults() uint64 { return j.faults.Load() }

// Usable is the number of segments that have not failed.
func (j *Journal) Usable() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, s := range j.all {
		if !s.bad.Load() {
			n++
		}
	}
	return n
}

// Stop refuses further appends with Closed and seals the active segment. What was reserved before still publishes.
func (j *Journal) Stop() {
	j.closed.Store(true)
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.active.Load(); s != nil {
		j.sealLocked(s)
		j.active.Store(nil)
	}
}

// Close unmaps the segments after Stop and after every appender has published; remove deletes the files as well, for a
// caller that has everything in the queue.
func (j *Journal) Close(remove bool) {
	j.Stop()
	for _, s := range j.all {
		s.Wait()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unmapAll()
	if remove {
		j.removeAll()
	}
}

func (j *Journal) unmapAll() {
	for _, s := range j.all {
		s.unmap()
	}
}

func (j *Journal) removeAll() {
	for _, s := range j.all {
		_ = os.Remove(j.path(s.number)) // what stays is recovered, and found committed, at the next start
	}
}
