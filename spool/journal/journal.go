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

// Result is the outcome of an append.
type Result uint8

// Results of [Journal.Append].
const (
	Appended Result = iota // published; survives the death of the process
	Full                   // every segment is waiting for its commit
	Fault                  // the mapping failed during the copy; the segment will not be reused
	Closed                 // the journal no longer accepts records
	TooLarge               // the record would fill more than half a segment
)

// Limits of Options.
const (
	SegmentBytesMin = 64 << 10
	SegmentBytesMax = 32 << 20
	SegmentsMin     = 2
	SegmentsMax     = 64
)

// ErrOptions is returned by Create if an option is outside its limits.
var ErrOptions = errors.New("journal options outside limits")

// Options configure Create. Package spool sets the defaults.
type Options struct {
	Dir          string    // an existing folder; the journal owns journal-*.seg in it
	Epoch        uuid.UUID // seeds every checksum
	SegmentBytes int       // SegmentBytesMin..SegmentBytesMax, a multiple of 4096
	Segments     int       // SegmentsMin..SegmentsMax
	OpenFile     func(name string, flag int, perm os.FileMode) (*os.File, error)
	// Notify is called when there may be something to commit: a segment has received its first record, is half full, or has been sealed.
	// The journal holds no lock during the call. Notify must not block.
	Notify func()
}

// Journal is the set of segments of one epoch. Any number of goroutines may call Append at the same time. Seal, Sealed, Recycle, Hold,
// Scrub, Repair and Close are for the committer and must not be called concurrently.
type Journal struct {
	o      Options
	half   uint64
	active atomic.Pointer[Segment]
	free   atomic.Int32 // len(freeList), for reading without mu
	closed atomic.Bool
	faults atomic.Uint64

	mu         sync.Mutex // guards the fields below; held for list operations and header writes only
	freeList   []*Segment // last in, first out
	sealed     []*Segment // oldest generation first, waiting for Sealed
	all        []*Segment
	failed     []*Segment // recycled, but no longer usable because their mapping faulted
	held       []*Segment // see Hold
	generation uint64
	nextSeq    uint64
	nextNumber int
}

// Create creates the segment files, allocates all their disk blocks, and activates the first segment. If it fails, it removes the files.
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
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.nextNumber = range o.Segments {
		s, err := createSegment(o, j.nextNumber)
		if err != nil {
			j.unmapAll()
			j.removeAll()
			return nil, err
		}
		j.all = append(j.all, s)
	}
	j.nextNumber = o.Segments
	free := slices.Clone(j.all)
	slices.Reverse(free) // segment 0 is used first
	j.setFreeLocked(free)
	if !j.activateLocked() {
		j.unmapAll()
		j.removeAll()
		return nil, fmt.Errorf("create journal in %s: the mapping cannot be written", o.Dir)
	}
	return j, nil
}

func (j *Journal) setFreeLocked(list []*Segment) {
	j.freeList = list
	j.free.Store(int32(len(list)))
}

func (j *Journal) path(i int) string { return segmentPath(j.o.Dir, i) }

func segmentPath(dir string, i int) string {
	return filepath.Join(dir, fmt.Sprintf("journal-%02d.seg", i))
}

// Append writes the event as the next record and returns its seq. It never panics, and blocks only while another goroutine is switching
// segments.
func (j *Journal) Append(e *event.Event) (uint64, Result) {
	size := e.Size()
	need := recordBytes(size)
	if need > j.half-headerBytes {
		return 0, TooLarge
	}
	for {
		s := j.active.Load()
		if s == nil {
			return 0, j.refusal()
		}
		crash.Point("spool.reserve.before")
		offset, index, ok := s.reserve(need)
		if !ok {
			if j.free.Load() == 0 && s.isSealed() || !j.rotate(s) {
				return 0, j.refusal()
			}
			continue
		}
		if index == 0 || (offset < j.half && offset+need >= j.half) {
			defer j.o.Notify()
		}
		return j.write(s, e, offset, s.firstSeq+index, size)
	}
}

func (j *Journal) refusal() Result {
	if j.closed.Load() {
		return Closed
	}
	return Full
}

// write fills a reservation. If the mapping faults (because of a hole in the file or a failing disk), the reservation counts as completed
// without a record, and the segment is retired.
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

// retire permanently seals a segment whose mapping has faulted.
func (j *Journal) retire(s *Segment) {
	s.bad.Store(true)
	j.faults.Add(1)
	j.rotate(s)
}

// rotate seals old if it is still the active segment, and activates a free one. It reports whether there is now an active segment.
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

// sealLocked ends reservations in the active segment and appends the segment to the sealed list, unless that has already happened.
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

// activateLocked makes the most recently freed segment the active one. If none is free, the sealed segment remains in j.active, so that
// Append finds it there and refuses the event.
func (j *Journal) activateLocked() bool {
	for len(j.freeList) > 0 {
		s := j.freeList[len(j.freeList)-1]
		j.setFreeLocked(j.freeList[:len(j.freeList)-1])
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

// Seal seals the active segment if it has records. Unless force is set, it does so only if another segment is free. It reports whether it
// sealed the segment.
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

// Sealed returns the sealed segments that it has not returned before, oldest first, and the last seq in them. Both are read under one lock, so
// that they agree.
func (j *Journal) Sealed() (segments []*Segment, through uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	segments, j.sealed = j.sealed, nil
	through = j.nextSeq - 1
	return segments, through
}

// Recycle makes a segment free again. Its records must be durable elsewhere. A segment whose mapping has faulted is not reused.
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

// Hold keeps a segment whose records have just been committed to the queue, until [Journal.RecycleHeld] is called after the next commit. If
// that next commit fails, the previous one may also be lost, and the records must be committed again.
func (j *Journal) Hold(s *Segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = append(j.held, s)
}

// Held returns the held segments, oldest first.
func (j *Journal) Held() []*Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.held)
}

// RecycleHeld recycles all held segments.
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
	j.setFreeLocked(append(j.freeList, s))
	if a := j.active.Load(); !j.closed.Load() && (a == nil || a.isSealed()) {
		j.activateLocked()
	}
}

// LastSeq returns the highest seq reserved so far, or 0 if there is none.
func (j *Journal) LastSeq() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.active.Load(); s != nil && !s.isSealed() {
		return s.firstSeq + s.reserved() - 1
	}
	return j.nextSeq - 1
}

// Faults returns the number of faults of mapped segments.
func (j *Journal) Faults() uint64 { return j.faults.Load() }

// Usable returns the number of segments that have not failed.
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

// Stop makes further appends fail with Closed and seals the active segment. Records that are already reserved are still published.
func (j *Journal) Stop() {
	j.closed.Store(true)
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.active.Load(); s != nil {
		j.sealLocked(s)
		j.active.Store(nil)
	}
}

// Close stops the journal, waits for appends in progress, and unmaps the segments. If remove is set, it also deletes the files; every record
// must then be in the queue.
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
		_ = os.Remove(j.path(s.number)) // if the file remains, the next start finds that its records have been committed
	}
}
