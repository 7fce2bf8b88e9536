package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// ackDelayMax is how long an acknowledgment waits so that it can be committed together with events.
const ackDelayMax = time.Second

// Set contains the spool of this process and those that dead processes left. All methods are safe for concurrent use.
type Set struct {
	o         Options
	journal   atomic.Pointer[journal.Journal] // nil while degraded and after Close
	current   *epoch                          // the epoch of this process; the pointer never changes
	responses atomic.Uint64                   // in the current epoch, counted when Record begins
	closing   atomic.Bool
	kick      chan struct{} // capacity 1; wakes Run
	durable   durable

	sem        chan struct{} // capacity 1; held while committing, opening and closing
	committer  *committer    // belongs to the holder of sem; the pointer never changes
	quarantine *quarantine

	mu          sync.Mutex
	epochs      []*epoch      // oldest first, current last
	retired     []Ledger      // the final ledgers of retired epochs
	changed     chan struct{} // closed and replaced when Peek should check again
	cachedBytes int
	degraded    string

	commits, commitErrors, fullCommits, unsynced, expired, foundLost atomic.Uint64
	newerFolders                                                     atomic.Int64 // folders not taken over because a newer wayside wrote them
}

// Open recovers the spools of dead processes in o.Dir and begins a new one. It fails only if an option is wrong: if the disk is damaged,
// full or read-only, the Set counts drops in memory, and Run tries again. Open starts no goroutine.
//
// Open may find any of these states, and handles them as follows:
//   - no folder, an empty folder, or a folder whose creation was not completed: an epoch without events
//   - a folder locked by a live process: left alone, tried again later
//   - a journal with committed, uncommitted, empty, torn or damaged segments: valid uncommitted records are committed
//   - queue files: one; several after a failed fsync; one still named .new (removed); one that cannot be read, or that killed two
//     consecutive processes that opened it (moved to the quarantine); one that lacks batches that its state counts (taken from the
//     journal)
//   - a ledger page: missing, damaged, older or newer than the queue's figures
//   - an epoch fully acknowledged (waits for Retire); a .retired-* folder (removed)
//   - a folder written by a newer version of wayside, or one that cannot be read: left alone, tried again later
//   - events written by a newer version in a folder of this version: left there; see [Set.suspend]
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
		current:    &epoch{id: id, dir: filepath.Join(o.Dir, id.String())},
		durable:    durable{decided: make(chan struct{})},
		quarantine: &quarantine{dir: o.QuarantineDir, now: o.Now, logger: o.Logger},
	}
	c := &committer{Set: s, builder: *event.NewBatchBuilder(id)}
	c.takeover = takeover{committer: c, warned: make(map[string]bool)}
	s.committer = c
	removeRetired(&s.o)
	c.takeover.takeTallies()
	c.takeover.recoverAll(folders(o.Dir))
	s.epochs = append(s.epochs, s.current)
	c.activate()
	return s, nil
}

// activate creates the folder of the current epoch. If that fails, it sets the reason as the degraded state.
func (c *committer) activate() {
	j, q, err := createEpoch(&c.o, c.current, c.notify)
	if c.current.counters.attached() {
		c.tally.remove()
	}
	if err != nil {
		reason := "open: " + err.Error()
		if c.setDegraded(reason) != reason {
			c.o.Logger.Warn("spool unavailable; events are being dropped and counted, and wayside will try again", "error", err, "retry", c.o.ReopenInterval)
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

// Epoch returns the ID of the current epoch.
func (s *Set) Epoch() uuid.UUID { return s.current.id }

// Record counts the response that the event describes and appends the event, or counts the reason why it could not. It does not wait, unless
// Options.SyncEachResponse is set. It does not retain the event.
func (s *Set) Record(e *event.Event) {
	seq, refusal := s.TryAppend(e)
	if refusal == Accepted && s.o.SyncEachResponse && !s.durable.wait(seq, s.notify) {
		s.unsynced.Add(1)
	}
}

// Exclude counts a response that is deliberately not recorded.
func (s *Set) Exclude() {
	s.responses.Add(1)
	s.current.counters.add(slotExcluded, 1)
}

// TryAppend is Record without the wait. If the event is refused, it counts the refusal and returns the reason.
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

// setDegraded sets the reason for the degraded state, empty if there is none, and returns the previous one.
func (s *Set) setDegraded(reason string) (before string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.degraded = s.degraded, reason
	return before
}

// acquire gives the caller the exclusive right to commit, open and close files, until release is called.
func (s *Set) acquire(ctx context.Context) (*committer, error) {
	select {
	case s.sem <- struct{}{}:
		return s.committer, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Set) release() { <-s.sem }

// Flush seals and commits the events that were appended before the call, and lets Peek return them immediately. An error wraps
// ErrQueueFull or ErrUnavailable if events had to remain in the journal, where they survive the death of the process.
func (s *Set) Flush(ctx context.Context) error {
	err := s.step(ctx, func(c *committer) error {
		if err := c.commit(true); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.current.flushed = s.current.lastSeq
		s.changedLocked()
		return nil
	})
	if err != nil {
		return fmt.Errorf("flush spool: %w", err)
	}
	return nil
}

// Close seals and commits the events appended so far, then closes all files. The folders remain for the next Open. Later appends are
// refused and counted in memory. If the commit fails, the events remain in the journal for the next Open.
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
		s.committer.closeCounts()
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

func (c *committer) updateTally() error { return c.tally.update(&c.o, c.current) }

// closeCounts closes the ledger and the tally of an epoch without a journal. If neither could be written, it logs the count, which would
// otherwise be lost.
func (c *committer) closeCounts() {
	err := c.updateTally()
	_, dropped := c.current.counters.droppedByReason()
	if c.current.counters.detach(); err != nil {
		c.o.Logger.Error("cannot write the count of dropped responses to disk; it is lost when this process ends", "responses", dropped, "error", err)
	}
	if c.tally.file != nil {
		_ = c.tally.file.Close()
	}
}

// closeJournal commits everything and removes the journal's files, or leaves them for the next Open.
func (c *committer) closeJournal(j *journal.Journal) error {
	j.Stop()
	err := c.commit(true)
	if err == nil && len(j.Held()) > 0 {
		err = c.commitAcksOf(c.current) // held segments may be removed only after another commit
	}
	c.journal.Store(nil)
	c.mu.Lock()
	committed := err == nil && len(c.current.taken) == 0
	c.mu.Unlock()
	c.current.counters.detach()
	j.Close(committed)
	return err
}

// folders lists the folders of epochs, oldest first.
func folders(dir string) (out []string) {
	entries, _ := os.ReadDir(dir) // sorted by name; UUIDv7 names sort by age
	for _, entry := range entries {
		if id, err := uuid.Parse(entry.Name()); err == nil && entry.IsDir() && id.String() == entry.Name() {
			out = append(out, filepath.Join(dir, entry.Name()))
		}
	}
	return out
}

func (s *Set) epochLocked(id uuid.UUID) *epoch {
	if i := slices.IndexFunc(s.epochs, func(e *epoch) bool { return e.id == id }); i >= 0 {
		return s.epochs[i]
	}
	return nil
}

func (s *Set) allEpochs() []*epoch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.epochs)
}

// isHeld reports whether the batch that begins with seq first is still in the index.
func (s *Set) isHeld(e *epoch, first uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.findLocked(first) != nil
}

// Fetch implements Source: it returns the bytes from Options.OnFetch.
func (s *Set) Fetch(_ context.Context, topic string) ([]byte, error) {
	if s.o.OnFetch == nil {
		return nil, fmt.Errorf("fetch %s: %w", topic, errNoTopic)
	}
	body, err := s.o.OnFetch(topic)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", topic, err)
	}
	return body, nil
}

var errNoTopic = errors.New("no such topic")

// Publish implements Source: it passes the bytes to Options.OnPublish.
func (s *Set) Publish(_ context.Context, topic string, body []byte) error {
	if s.o.OnPublish == nil {
		return nil
	}
	if err := s.o.OnPublish(topic, body); err != nil {
		return fmt.Errorf("publish %s: %w", topic, err)
	}
	return nil
}
