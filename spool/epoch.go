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

// cacheBytesMax bounds the recently committed values kept in memory, over all epochs, so that the usual Peek does not
// read them back.
const cacheBytesMax = 4 << 20

var errBusy = errors.New("spool folder is in use by another process")

// epoch is one folder. The active one has a journal; the others are only drained.
type epoch struct {
	id       uuid.UUID
	dir      string
	closed   bool // never appended to; fixed
	counters counters

	// Guarded by Set.mu.
	index          []entry            // committed, not acknowledged; ascending, without overlap
	taken          []*journal.Segment // sealed and handed out by the journal, not committed; oldest first
	files          []*queue.File      // ascending number; changed only by the committer, under the lock
	generation     uint64             // committed up to
	lastSeq        uint64             // committed up to
	recorded       uint64             // responses committed, acknowledged ones included
	acked          uint64
	ackedResponses uint64
	expiring       []entry   // being removed for their age: not in the index any more, not counted yet
	expired        uint64    // everything up to this seq that was not acknowledged expired; 0: nothing
	peeked         uint64    // the last seq that Peek handed out …
	peekedAt       time.Time // … and when
	flushed        uint64    // Peek hands out batches up to it without waiting
	ackPending     bool      // an acknowledgement waits for a commit
	newer          bool      // Peek met a record of a newer wayside: what is left waits for that one

	// Owned by the committer (whoever holds Set.sem).
	lock     *os.File
	reported reportedDrops // written under Set.mu as well
}

// writer is the queue file that takes commits; nil if none can.
func (e *epoch) writer() *queue.File {
	if n := len(e.files); n > 0 && e.files[n-1].Writable() {
		return e.files[n-1]
	}
	return nil
}

// entry is a committed batch as the index knows it.
type entry struct {
	queue.Batch
	file   *queue.File // nil when the batch is held in memory only
	cached []byte      // immutable; nil when the value must be read from file
	at     time.Time   // recording moment of its first event, or when it was found
}

// stateLocked is the state to commit together with a batch (or none).
func (e *epoch) stateLocked(generation uint64, add *entry) *queue.State {
	m := &queue.State{
		Version: queue.Version, Epoch: e.id, Generation: max(e.generation, generation), LastSeq: e.lastSeq,
		Recorded: e.recorded, Acked: e.acked, AckedResponses: e.ackedResponses, Excluded: e.counters.excluded(),
	}
	if m.Dropped, _ = e.counters.droppedByReason(); e.expired > 0 {
		m.Version, m.Expired = queue.VersionExpired, e.expired
	}
	m.Reported = e.reported.byReason()
	if add != nil {
		m.LastSeq, m.Recorded = max(m.LastSeq, add.Last), m.Recorded+uint64(add.Responses)
	}
	return m
}

// ackLocked takes the entries up to seq out of the index and returns the cached bytes that were freed.
func (e *epoch) ackLocked(seq uint64) (freed int) {
	if seq <= e.acked {
		return 0
	}
	n := 0
	for n < len(e.index) && e.index[n].Last <= seq {
		entry := &e.index[n]
		e.ackedResponses += uint64(entry.Responses)
		if entry.file != nil { // a batch held in memory for want of a file is no cached copy
			freed += len(entry.cached)
		}
		entry.cached = nil
		if entry.file != nil {
			entry.file.Remove(&entry.Batch)
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

// findLocked returns the entry that begins with seq first, or nil.
func (e *epoch) findLocked(first uint64) *entry {
	i := sort.Search(len(e.index), func(i int) bool { return e.index[i].First >= first })
	if i < len(e.index) && e.index[i].First == first {
		return &e.index[i]
	}
	return nil
}

// coveringLocked returns the entry that takes in all from first to last, or nil.
func (e *epoch) coveringLocked(first, last uint64) *entry {
	i := sort.Search(len(e.index), func(i int) bool { return e.index[i].First > first })
	if i > 0 && e.index[i-1].Last >= last {
		return &e.index[i-1]
	}
	return nil
}

func (e *epoch) removeLocked(first uint64) {
	i := sort.Search(len(e.index), func(i int) bool { return e.index[i].First >= first })
	if i < len(e.index) && e.index[i].First == first {
		e.index = append(e.index[:i:i], e.index[i+1:]...)
	}
}

// blank reports whether nothing was ever counted in a recovered epoch.
func (e *epoch) blank() bool {
	_, dropped := e.counters.droppedByReason()
	return e.recorded+e.lastSeq+e.counters.excluded()+dropped == 0 && len(e.index) == 0
}

// lockFolder takes the folder's lock, or fails with errBusy while a live process holds it.
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

// closeFiles releases everything but the folder.
func (e *epoch) closeFiles() error {
	var errs []error
	for _, q := range e.files {
		errs = append(errs, q.Close())
	}
	if len(errs) > 0 {
		e.files = nil // an active epoch without files is looked at meanwhile
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Close())
		e.lock = nil
	}
	return errors.Join(errs...)
}

// createEpoch makes the queue and the journal of the active epoch, in its folder. When it fails, folder, lock and ledger stay as far
// as there was room for them: what is dropped meanwhile is counted in a file then, and not only in memory.
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
		_ = os.Remove(q.Name()) // gives its space back
		return nil, nil, err
	}
	return j, q, nil
}
