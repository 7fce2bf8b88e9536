package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// ackDelayMax is how long an acknowledgement alone waits for a commit to ride in.
const ackDelayMax = time.Second

// Set is the active spool of this process and the spools that dead processes left behind. All methods are safe for
// concurrent use.
type Set struct {
	o         Options
	journal   atomic.Pointer[journal.Journal] // nil while degraded and after Close
	current   *epoch                          // the active epoch; the pointer never changes
	responses atomic.Uint64                   // of the active epoch, counted when Record begins
	closing   atomic.Bool
	kick      chan struct{} // capacity 1; wakes Run
	durable   durable

	sem       chan struct{} // capacity 1; held while committing, opening and closing
	committer *committer    // belongs to the holder of sem; the pointer never changes
	aside     *aside

	mu          sync.Mutex
	epochs      []*epoch      // oldest first, current last
	retired     []Ledger      // final ones
	changed     chan struct{} // closed and replaced when Peek should look again
	cachedBytes int
	degraded    string

	commits, commitErrors, fullCommits, unsynced, expired, foundLost atomic.Uint64
	newerFolders                                                     atomic.Int64 // among committer.skipped
}

// Open recovers the spools of dead processes below o.Dir and begins a new one. It fails only for wrong options: when the
// disk is damaged, full or read-only, the Set counts drops in memory and Run tries again. Open starts nothing.
//
// States that Open may find, each a folder or a file in one:
//   - no folder, an empty folder, a folder whose creation was cut short anywhere: taken for an epoch without events
//   - a folder locked by a live process: left alone, looked at again later
//   - a journal with committed, uncommitted, empty, torn or damaged segments: valid uncommitted records are committed
//   - queue files: one; several after a failed fsync; one still named .new (removed); one that cannot be read or whose
//     opening killed this process twice (set aside); one that misses batches it claims (taken from the journal)
//   - a ledger page: missing, damaged, older or newer than the queue's figures
//   - an epoch fully acknowledged (waits for Retire); a .retired-* folder (removed)
//   - a folder of a newer version of wayside, or that cannot be read now: left alone, looked at again later
//   - events of a newer version in a folder of this one: left there, see [Set.leave]
func Open(o Options) (*Set, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make epoch: %w", err)
	}
	s := &Set{
		o: o, kick: make(chan struct{}, 1), sem: make(chan struct{}, 1), changed: make(chan struct{}),
		current: &epoch{id: id, dir: filepath.Join(o.Dir, id.String())},
	}
	s.durable.decided = make(chan struct{})
	s.aside = &aside{dir: o.QuarantineDir, now: o.Now, logger: o.Logger}
	s.committer = &committer{Set: s, builder: *event.NewBatchBuilder(id), warned: make(map[string]bool)}
	s.committer.removeRetired()
	s.committer.takeTallies()
	s.committer.recoverAll(folders(o.Dir))
	s.epochs = append(s.epochs, s.current)
	s.committer.activate()
	return s, nil
}

// activate makes the active folder, or notes why it cannot. The caller holds sem, or nobody else knows the Set.
func (c *committer) activate() {
	j, q, err := createEpoch(&c.o, c.current, c.notify)
	if c.current.counters.attached() {
		c.dropTally()
	}
	if err != nil {
		reason := "open: " + err.Error()
		if c.setDegraded(reason) != reason {
			c.o.Logger.Warn("spool unavailable, events are dropped and counted", "error", err, "retry", c.o.ReopenInterval)
		}
		return
	}
	c.mu.Lock()
	c.current.files = []*queue.File{q}
	c.mu.Unlock()
	if c.setDegraded("") != "" {
		c.o.Logger.Info("spool available again")
	}
	c.journal.Store(j)
}

// Epoch is the identity of the active spool.
func (s *Set) Epoch() uuid.UUID { return s.current.id }

// Record counts the event as a response and appends it, or counts why it could not. It does not wait, unless
// Options.SyncEachResponse is set. The event is borrowed for the call.
func (s *Set) Record(e *event.Event) {
	seq, refusal := s.TryAppend(e)
	if refusal == Accepted && s.o.SyncEachResponse && !s.durable.wait(seq, s.notify) {
		s.unsynced.Add(1)
	}
}

// Exclude counts a response that is not recorded on purpose.
func (s *Set) Exclude() {
	s.responses.Add(1)
	s.current.counters.add(slotExcluded, 1)
}

// TryAppend is Record without waiting, for a caller that wants to know. It counts the response and the refusal.
func (s *Set) TryAppend(e *event.Event) (seq uint64, refusal Refusal) {
	response := e.IsResponse()
	if response {
		s.responses.Add(1)
	}
	refusal = RefusedUnavailable
	if j := s.journal.Load(); j != nil {
		var r journal.Result
		if seq, r = j.Append(e); r == journal.Appended {
			if response {
				s.current.counters.add(slotAccepted, 1)
			}
			return seq, Accepted
		}
		refusal = refusalFor[r]
	} else if s.closing.Load() {
		refusal = RefusedClosed
	}
	if response {
		s.current.counters.drop(refusal, 1)
		s.notify()
	}
	return 0, refusal
}

var refusalFor = [...]Refusal{
	journal.Full: RefusedFull, journal.Fault: RefusedFault, journal.Closed: RefusedClosed, journal.TooLarge: RefusedTooLarge,
}

// notify wakes Run without blocking.
func (s *Set) notify() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// changedLocked wakes every Peek.
func (s *Set) changedLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// setDegraded returns the reason that stood before.
func (s *Set) setDegraded(reason string) (before string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.degraded = s.degraded, reason
	return before
}

// acquire takes the right to commit, open and close files, until release.
func (s *Set) acquire(ctx context.Context) (*committer, error) {
	select {
	case s.sem <- struct{}{}:
		return s.committer, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Set) release() { <-s.sem }

// Flush seals and commits what was appended before the call, and lets Peek hand it out at once. It fails with an error
// that wraps ErrQueueFull or ErrUnavailable when events had to stay in the journal, where they are safe from the death of
// the process.
func (s *Set) Flush(ctx context.Context) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return fmt.Errorf("flush spool: %w", err)
	}
	defer s.release()
	if s.closing.Load() {
		return ErrClosed
	}
	if err := c.commit(true); err != nil {
		return fmt.Errorf("flush spool: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.flushed = s.current.lastSeq
	s.changedLocked()
	return nil
}

// Close seals and commits what was appended, then closes all files. The folders stay for the next Open. Later appends are
// refused and counted in memory. When the commit fails, the journal keeps the events for the next Open.
func (s *Set) Close() error {
	s.sem <- struct{}{}
	defer s.release()
	if s.closing.Swap(true) {
		return nil
	}
	var errs []error
	if j := s.journal.Load(); j != nil {
		errs = append(errs, s.committer.closeJournal(j))
	} else {
		s.committer.leaveCounts()
	}
	errs = append(errs, s.committer.commitAcks())
	s.durable.decide(^uint64(0), false)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.epochs {
		errs = append(errs, e.closeFiles())
	}
	s.changedLocked()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}

// leaveCounts lets go of the ledger page of an epoch without a journal, or says what is lost with this process because there was no place
// for a count.
func (c *committer) leaveCounts() {
	err := c.keepTally()
	_, dropped := c.current.counters.droppedByReason()
	if c.current.counters.detach(); err != nil {
		c.o.Logger.Error("these responses are in no book: there was no place for a count of them", "responses", dropped, "error", err)
	}
	if c.tally != nil {
		_ = c.tally.Close()
	}
}

// closeJournal commits everything and removes the journal's files, or leaves them for the next Open.
func (c *committer) closeJournal(j *journal.Journal) error {
	j.Stop()
	err := c.commit(true)
	if err == nil && j.Held() > 0 {
		err = c.commitAcksOf(c.current) // the later commit that allows the segments to go
	}
	c.journal.Store(nil)
	c.mu.Lock()
	committed := err == nil && len(c.current.taken) == 0
	c.mu.Unlock()
	c.current.counters.detach()
	j.Close(committed)
	return err
}

// Status describes the Set for people and metrics.
func (s *Set) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Degraded: s.degraded, Epochs: len(s.epochs), Commits: s.commits.Load(), CommitErrors: s.commitErrors.Load(),
		FullCommits: s.fullCommits.Load(), QuarantinedFiles: s.aside.count.Load(), Unsynced: s.unsynced.Load(), GivenUp: s.expired.Load(), FoundLost: s.foundLost.Load(),
	}
	st.NewerEpochs = int(s.newerFolders.Load())
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

// durable lets appenders wait for the commit that holds their event.
type durable struct {
	waiting atomic.Int32
	mu      sync.Mutex
	seq     uint64        // guarded by mu: the fate of all up to it is decided
	synced  uint64        // guarded by mu: all up to it are on the disk
	decided chan struct{} // guarded by mu: closed and replaced when seq rises
}

// wait returns when the event is on the disk, or false when the attempt failed or took longer than SyncWaitMax.
func (d *durable) wait(seq uint64, notify func()) (synced bool) {
	d.waiting.Add(1)
	defer d.waiting.Add(-1)
	notify()
	timeout := time.NewTimer(SyncWaitMax)
	defer timeout.Stop()
	for {
		d.mu.Lock()
		done, synced, decided := d.seq >= seq, d.synced >= seq, d.decided
		d.mu.Unlock()
		if done {
			return synced
		}
		select {
		case <-decided:
		case <-timeout.C:
			return false
		}
	}
}

// decide lets go of everybody who waits for a seq up to this one, which was committed, or tried to be.
func (d *durable) decide(seq uint64, committed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if committed {
		d.synced = max(d.synced, seq)
	}
	if seq <= d.seq {
		return
	}
	d.seq = seq
	close(d.decided)
	d.decided = make(chan struct{})
}

func folders(dir string) []string {
	entries, err := os.ReadDir(dir) // sorted by name, which for UUIDv7 is by age
	if err != nil {
		return nil
	}
	var out []string
	for _, entry := range entries {
		if id, err := uuid.Parse(entry.Name()); err == nil && entry.IsDir() && id.String() == entry.Name() {
			out = append(out, filepath.Join(dir, entry.Name()))
		}
	}
	return out
}

func (s *Set) epochLocked(id uuid.UUID) *epoch {
	for _, e := range s.epochs {
		if e.id == id {
			return e
		}
	}
	return nil
}

// Publish implements Source: it hands the bytes to Options.OnPublish.
func (s *Set) Publish(_ context.Context, topic string, body []byte) error {
	if s.o.OnPublish == nil {
		return nil
	}
	if err := s.o.OnPublish(topic, body); err != nil {
		return fmt.Errorf("publish %s: %w", topic, err)
	}
	return nil
}
