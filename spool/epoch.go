package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/disk"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// cacheBytesMax limits the bytes of recently committed values kept in memory, across all epochs. A consumer that keeps up gets its batches
// from this cache.
const cacheBytesMax = 4 << 20

var errBusy = errors.New("spool folder is in use by another process")

// epoch is one folder. The current one has a journal; the others are only drained.
type epoch struct {
	id       uuid.UUID
	dir      string
	closed   bool // nothing can be appended; set at creation and never changed
	counters counters

	// Guarded by Set.mu.
	index          []entry            // batches committed but not acknowledged; ascending, without overlap
	taken          []*journal.Segment // sealed segments taken from the journal but not committed yet; oldest first
	files          []*queue.File      // in ascending order of number; changed only by the committer, under the lock
	generation     uint64             // the last generation committed
	lastSeq        uint64             // the last seq committed
	recorded       uint64             // responses committed, acknowledged ones included
	acked          uint64
	ackedResponses uint64
	expiring       []entry   // batches being removed because of their age: no longer in the index, not yet counted as dropped
	expired        uint64    // everything up to this seq that was not acknowledged has expired; 0 if nothing has
	peeked         uint64    // the last seq that Peek returned …
	peekedAt       time.Time // … and when
	flushed        uint64    // Peek returns batches up to this seq without waiting
	ackPending     bool      // an acknowledgment is waiting for a commit
	newer          bool      // Peek found a record written by a newer wayside: the rest waits for that version

	// Owned by the committer, that is, by the holder of Set.sem.
	lock     *os.File
	reported reportedDrops // also written under Set.mu
}

// writer returns the queue file to which commits go, or nil if no file can be written.
func (e *epoch) writer() *queue.File {
	if n := len(e.files); n > 0 && e.files[n-1].Writable() {
		return e.files[n-1]
	}
	return nil
}

// entry is a committed batch in the index.
type entry struct {
	queue.Batch
	file   *queue.File // nil if the batch exists in memory only
	cached []byte      // never modified; nil if the value must be read from file
	at     time.Time   // when its first event was recorded, or when the batch was found
}

// cachedCopy returns the number of bytes that count towards cacheBytesMax. A batch that exists in memory only does not count.
func (b *entry) cachedCopy() int {
	if b.file == nil {
		return 0
	}
	return len(b.cached)
}

// value returns the bytes of the batch, or nil without an error if the batch has been removed from its file.
func (b *entry) value() ([]byte, error) {
	if b.cached != nil {
		return b.cached, nil
	}
	return b.file.Read(&b.Batch)
}

// heldIn counts the responses in batches.
func heldIn(batches []entry) (responses uint64) {
	for i := range batches {
		responses += uint64(batches[i].Responses)
	}
	return responses
}

// stateLocked returns the state to commit. If add is not nil, the state includes the batch that add describes.
func (e *epoch) stateLocked(generation uint64, add *entry) *queue.State {
	s := &queue.State{
		Version: queue.Version, Epoch: e.id, Generation: max(e.generation, generation), LastSeq: e.lastSeq,
		Recorded: e.recorded, Acked: e.acked, AckedResponses: e.ackedResponses, Excluded: e.counters.excluded(),
	}
	if s.Dropped, _ = e.counters.droppedByReason(); e.expired > 0 {
		s.Version, s.Expired = queue.VersionExpired, e.expired
	}
	s.Reported = e.reported.byReason()
	if add != nil {
		s.LastSeq, s.Recorded = max(s.LastSeq, add.Last), s.Recorded+uint64(add.Responses)
	}
	return s
}

// ackLocked removes the batches up to seq from the index and returns the number of cached bytes freed.
func (e *epoch) ackLocked(seq uint64) (freed int) {
	if seq <= e.acked {
		return 0
	}
	n := 0
	for n < len(e.index) && e.index[n].Last <= seq {
		b := &e.index[n]
		e.ackedResponses += uint64(b.Responses)
		freed += b.cachedCopy()
		if b.file != nil {
			b.file.Remove(&b.Batch)
		}
		n++
	}
	clear(e.index[:n])
	e.index = e.index[n:]
	if len(e.index) == 0 {
		e.index = nil
	}
	e.acked, e.ackPending = seq, true
	return freed
}

// heldLocked counts the responses in the index.
func (e *epoch) heldLocked() uint64 { return heldIn(e.index) }

// searchLocked returns the index position of the first batch that begins at seq first or later.
func (e *epoch) searchLocked(first uint64) int {
	return sort.Search(len(e.index), func(i int) bool { return e.index[i].First >= first })
}

// findLocked returns the batch that begins at seq first, or nil.
func (e *epoch) findLocked(first uint64) *entry {
	if i := e.searchLocked(first); i < len(e.index) && e.index[i].First == first {
		return &e.index[i]
	}
	return nil
}

// coveringLocked returns the batch that contains everything from seq first to seq last, or nil.
func (e *epoch) coveringLocked(first, last uint64) *entry {
	i := e.searchLocked(first + 1)
	if i > 0 && e.index[i-1].Last >= last {
		return &e.index[i-1]
	}
	return nil
}

func (e *epoch) removeLocked(first uint64) {
	if i := e.searchLocked(first); i < len(e.index) && e.index[i].First == first {
		e.index = append(e.index[:i:i], e.index[i+1:]...)
	}
}

// blank reports whether a recovered epoch has no events and all its counts are zero.
func (e *epoch) blank() bool {
	_, dropped := e.counters.droppedByReason()
	return e.recorded+e.lastSeq+e.counters.excluded()+dropped == 0 && len(e.index) == 0
}

// lockFolder locks a folder. It fails with errBusy while a live process holds the lock.
func lockFolder(dir string, create bool) (*os.File, error) {
	name, flag := filepath.Join(dir, lockName), os.O_RDONLY
	if create {
		flag = os.O_RDWR | os.O_CREATE
	}
	f, err := os.OpenFile(name, flag, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("lock spool folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", errBusy, dir)
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

// closeFiles closes the queue files and releases the lock.
func (e *epoch) closeFiles() error {
	var errs []error
	for _, q := range e.files {
		errs = append(errs, q.Close())
	}
	if len(errs) > 0 {
		e.files = nil // the current epoch may remain in use without files
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Close())
		e.lock = nil
	}
	return errors.Join(errs...)
}

// createEpoch creates the folder of the current epoch, with queue and journal. If it fails but there was room for the folder, lock and
// ledger, these remain, so that drops are counted in a file and not only in memory.
func createEpoch(o *Options, e *epoch, notify func()) (j *journal.Journal, q *queue.File, err error) {
	if err := openFolder(o, e); err != nil {
		return nil, nil, err
	}
	q, err = queue.Create(o.queue(), e.dir, 0, &queue.State{Version: queue.Version, Epoch: e.id})
	if err != nil {
		return nil, nil, err
	}
	j, err = journal.Create(journal.Options{
		Dir: e.dir, Epoch: e.id, SegmentBytes: o.segmentBytes, Segments: o.Segments, OpenFile: o.OpenFile, Notify: notify,
	})
	if err == nil {
		if err = disk.SyncDir(o.Dir); err != nil {
			j.Close(true)
		}
	}
	if err != nil {
		_ = q.Close()
		_ = os.Remove(q.Name()) // frees its space
		return nil, nil, err
	}
	return j, q, nil
}
