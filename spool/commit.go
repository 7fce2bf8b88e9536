package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// committer performs all writes of a Set to the queue. Only the holder of Set.sem may call its methods.
type committer struct {
	*Set
	builder  event.BatchBuilder
	tally    tally // of the current epoch, while it has no ledger
	takeover takeover
}

// Run commits the journal to the queue and retries spools that have failed, until ctx is done. It does not close the Set.
func (s *Set) Run(ctx context.Context) error {
	commit, acks, tally, reopen := newAlarm(), newAlarm(), newAlarm(), time.NewTimer(s.o.ReopenInterval)
	var drops dropLog
	defer func() { drops.log(s, time.Now().Add(dropLogInterval)) }()
	failed := false // after a failed commit, the next one waits for the interval, no matter how often kick is signaled
	for {
		due := false
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
			if !s.current.counters.attached() {
				tally.set(s.o.CommitInterval) // not on every kick: each drop sends one, and an update costs a system call
			}
		case <-tally.C:
			tally.armed = false
			_ = s.step(ctx, (*committer).updateTally) // closeCounts logs the error if it persists until Close
		case <-commit.C:
			due, commit.armed = true, false
		case <-acks.C:
			acks.armed = false
			_ = s.step(ctx, (*committer).commitAcks)
		case <-reopen.C:
			_ = s.step(ctx, (*committer).reopen)
			_ = s.step(ctx, (*committer).expire)
			reopen.Reset(s.o.ReopenInterval)
			drops.log(s, time.Now())
		}
		if due || (!failed && s.urgent()) {
			failed = s.step(ctx, func(c *committer) error { return c.commit(false) }) != nil
		}
		if !commit.armed && s.hasPending() {
			commit.set(s.o.CommitInterval)
		}
		if !acks.armed && s.hasAcks() {
			acks.set(ackDelayMax)
		}
	}
}

// alarm is a timer that ignores calls to set until it has fired.
type alarm struct {
	*time.Timer
	armed bool // cleared when C is received
}

func newAlarm() *alarm {
	a := &alarm{Timer: time.NewTimer(time.Hour)}
	a.Stop()
	return a
}

func (a *alarm) set(d time.Duration) {
	if !a.armed {
		a.Reset(d)
		a.armed = true
	}
}

// step acquires the committer and runs fn with it. An error of fn has already been logged and set in Status.
func (s *Set) step(ctx context.Context, fn func(*committer) error) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer s.release()
	if s.closing.Load() {
		return ErrClosed
	}
	return fn(c)
}

// urgent reports whether a commit is due before the interval has passed.
func (s *Set) urgent() bool {
	j := s.journal.Load()
	if j == nil {
		return false
	}
	p := j.Pending()
	return p.HalfFull || p.Sealed > 0 || (p.ActiveRecords > 0 && s.durable.waiting.Load() > 0)
}

// hasPending reports whether the next commit has something to write: events, sealed segments that could not be committed, or drops that no
// drop record has reported yet.
func (s *Set) hasPending() bool {
	j := s.journal.Load()
	if j == nil {
		return false
	}
	if p := j.Pending(); p.ActiveRecords > 0 || p.Sealed > 0 {
		return true
	}
	s.mu.Lock()
	taken := len(s.current.taken) > 0
	s.mu.Unlock()
	return taken || s.unreported()
}

func (s *Set) hasAcks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.epochs, func(e *epoch) bool { return e.ackPending })
}

// commit seals the active segment and commits every sealed one in its own transaction. Unless force is set, the active segment is sealed only
// if another one is free.
func (c *committer) commit(force bool) error {
	j := c.journal.Load()
	if j == nil {
		if err := c.commitAcks(); err != nil {
			return err
		}
		return ErrUnavailable
	}
	e := c.current
	err := c.freeHeld(e, j)
	c.reportDrops(j)
	j.Seal(false)
	through, takenErr := c.commitTaken(e, j)
	err = errors.Join(err, takenErr)
	if err == nil {
		err = c.freeHeld(e, j)
	}
	if err == nil && force && j.Seal(true) {
		through, err = c.commitTaken(e, j)
	}
	c.durable.decide(through, takenErr == nil && err == nil)
	return err
}

// freeHeld performs an additional commit if no segment is free. After that commit, the held segments may be reused.
func (c *committer) freeHeld(e *epoch, j *journal.Journal) error {
	if len(j.Held()) == 0 || j.Pending().Free > 0 {
		return nil
	}
	return c.commitAcksOf(e)
}

// commitTaken commits the sealed segments, oldest first, until one fails. It returns the last seq in the sealed segments that it found.
// Records with a higher seq do not count as durable yet.
func (c *committer) commitTaken(e *epoch, j *journal.Journal) (through uint64, err error) {
	for {
		c.mu.Lock()
		var sealed []*journal.Segment
		sealed, through = j.Sealed()
		e.taken = append(e.taken, sealed...)
		var seg *journal.Segment
		if len(e.taken) > 0 {
			seg = e.taken[0]
		}
		c.mu.Unlock()
		if seg == nil {
			return through, nil
		}
		if err := c.commitSegment(e, seg); err != nil {
			return through, err
		}
	}
}

// buildBatch builds a batch from the records that scan finds. The value is valid until the builder is used again; it is nil if there are
// no records. A record that this version cannot have written is skipped.
func buildBatch(builder *event.BatchBuilder, scan func(func(seq uint64, payload []byte)) error) (b entry, value []byte, err error) {
	builder.Reset()
	err = scan(func(seq uint64, payload []byte) { _ = builder.Add(seq, payload, event.IsResponseRecord(payload)) })
	if value = builder.Bytes(); value != nil {
		h, _ := event.BatchHeader(value)
		b.Batch = queue.Batch{First: h.FirstSeq, Last: h.LastSeq, Records: h.Records, Responses: h.Responses, Size: len(value)}
	}
	return b, value, err
}

// build builds a batch from a sealed segment.
func (c *committer) build(seg *journal.Segment) (entry, []byte) {
	seg.Wait()
	b, value, err := buildBatch(&c.builder, seg.Scan)
	if err != nil {
		c.o.Logger.Error("a journal segment cannot be read to its end; the rest of its events count as dropped", "error", err)
	}
	b.at = c.o.Now().Add(-c.o.CommitInterval)
	return b, value
}

// commitSegment writes one segment to the queue. If the queue file fails, it writes to a new one.
func (c *committer) commitSegment(e *epoch, seg *journal.Segment) error {
	if e.writer() == nil {
		return ErrUnavailable // until reopen creates a new file
	}
	b, value := c.build(seg)
	if value == nil {
		c.committed(e, seg, nil, nil)
		c.recycle(seg)
		return nil
	}
	err := c.write(e, seg.Generation(), &b, value)
	if err != nil && !errors.Is(err, queue.ErrFull) {
		if err = c.roll(e, err); err != nil {
			return err
		}
		b, value = c.build(seg) // again, because roll reused the builder
		err = c.write(e, seg.Generation(), &b, value)
	}
	if err == nil {
		b.file = e.writer()
		c.committed(e, seg, &b, value)
		c.recycleHeld(e)
		if j := c.journal.Load(); j != nil {
			j.Hold(seg)
		}
		return nil
	}
	if errors.Is(err, queue.ErrFull) {
		return c.keepInJournal(err)
	}
	c.commitFailed(err)
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// write commits a batch together with the acknowledgments. If the queue is full, it commits the acknowledgments first, which may make room.
func (c *committer) write(e *epoch, generation uint64, b *entry, value []byte) error {
	q := e.writer()
	if q == nil {
		return fmt.Errorf("%w: no queue file", ErrUnavailable)
	}
	change := func() queue.Change {
		c.mu.Lock()
		defer c.mu.Unlock()
		return queue.Change{Batch: &b.Batch, Value: value, Removals: q.Removals(), State: e.stateLocked(generation, b)}
	}
	tx := change()
	err := q.Commit(tx)
	if errors.Is(err, queue.ErrFull) && tx.Removals > 0 {
		if err := c.commitAcksOf(e); err != nil {
			return err
		}
		tx = change()
		err = q.Commit(tx)
	}
	if err != nil {
		return err
	}
	c.commits.Add(1)
	e.counters.committed(tx.State)
	c.pruneAcked(e, tx.State)
	return nil
}

// committed moves a segment from taken to the index; b is nil if the segment had no records. Published responses that are not in the batch
// count as dropped.
func (c *committer) committed(e *epoch, seg *journal.Segment, b *entry, value []byte) {
	_, lost := seg.Published()
	if b != nil {
		lost -= min(lost, uint64(b.Responses))
	}
	if lost > 0 || seg.Faulted() {
		c.quarantine.loss(e.id, fmt.Sprintf("A journal segment could no longer be written or read. The responses that it refused (%[2]s) and %[1]d others in it (%[3]s) count as dropped.",
			lost, RefusedFault, lostDamaged), errMapping)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e.taken = e.taken[1:]
	e.generation = max(e.generation, seg.Generation())
	if b != nil {
		e.recorded += uint64(b.Responses)
		e.lastSeq = b.Last
		if c.cachedBytes+len(value) <= cacheBytesMax {
			b.cached = slices.Clone(value)
			c.cachedBytes += len(value)
		}
		e.index = append(e.index, *b)
	}
	if lost > 0 {
		e.counters.drop(lostDamaged, lost)
	}
	c.degraded = ""
	c.changedLocked()
}

// recycleHeld lets the journal reuse the held segments. It is called after a later commit.
func (c *committer) recycleHeld(e *epoch) {
	if j := c.journal.Load(); j != nil && e == c.current {
		j.RecycleHeld()
	}
}

func (c *committer) recycle(seg *journal.Segment) {
	if j := c.journal.Load(); j != nil {
		j.Recycle(seg)
	}
}

// reopen retries everything that has failed: the current spool, its queue file, failed segments of its journal, and folders that could not
// be taken over.
func (c *committer) reopen() error {
	c.takeover.retry()
	j := c.journal.Load()
	if j == nil {
		c.activate()
		return nil
	}
	if err := j.Repair(); err != nil {
		c.o.Logger.Warn("cannot replace a failed journal segment; wayside will try again", "error", err)
	}
	e := c.current
	if e.writer() != nil {
		return nil
	}
	if err := c.roll(e, errors.New("no queue file")); err != nil {
		return err
	}
	return c.commit(false)
}
