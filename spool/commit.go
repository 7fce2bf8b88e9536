package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// committer is the writing side of a Set, in the hands of whoever holds Set.sem: its methods are called by that goroutine only.
type committer struct {
	*Set
	builder event.BatchBuilder
	skipped []string        // folders that could not be taken yet
	warned  map[string]bool // folders in skipped that the log has named
	tally   *os.File        // see tally.go; nil if there is none
	tallied uint64          // what it says
	tallies bool            // tallies of other processes are left
}

// Run commits the journal to the queue and tries failed spools again, until ctx is done. It does not close the Set.
func (s *Set) Run(ctx context.Context) error {
	commit, acks, tally, reopen := stopped(), stopped(), stopped(), time.NewTimer(s.o.ReopenInterval)
	defer commit.Stop()
	defer tally.Stop()
	defer acks.Stop()
	defer reopen.Stop()
	armed, acksArmed, tallyArmed := false, false, false
	var drops dropLog
	defer func() { drops.log(s, time.Now().Add(dropLogInterval)) }()
	failed := false // the last commit failed: wait for the interval before the next, whoever kicks
	for {
		due := false
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
			if !tallyArmed && !s.current.counters.attached() {
				tally.Reset(s.o.CommitInterval) // not each time: every drop kicks, and this is a system call
				tallyArmed = true
			}
		case <-tally.C:
			tallyArmed = false
			_ = s.step(ctx, (*committer).keepTally) // said at the end, if it could not be kept
		case <-commit.C:
			due, armed = true, false
		case <-acks.C:
			acksArmed = false
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
		if !armed && s.hasPending() {
			commit.Reset(s.o.CommitInterval)
			armed = true
		}
		if !acksArmed && s.hasAcks() {
			acks.Reset(ackDelayMax)
			acksArmed = true
		}
	}
}

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// step runs fn as the committer. Its error is in the status and the log already.
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

// urgent reports whether a commit should not wait for the interval.
func (s *Set) urgent() bool {
	j := s.journal.Load()
	if j == nil {
		return false
	}
	p := j.Pending()
	return p.HalfFull || p.Sealed > 0 || (p.ActiveRecords > 0 && s.durable.waiting.Load() > 0)
}

// hasPending reports whether something waits for the interval: events, sealed segments that could not be committed, or
// drops that no drop record has reported.
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
	for _, e := range s.epochs {
		if e.ackPending {
			return true
		}
	}
	return false
}

// commit seals the active segment and commits every sealed one, a transaction each. Unless force is set, a segment is only
// sealed when another can take over. The caller holds sem.
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

// freeHeld makes the later commit that lets segments be reused, when there is no free one left and nothing else to write.
func (c *committer) freeHeld(e *epoch, j *journal.Journal) error {
	if j.Held() == 0 || j.Pending().Free > 0 {
		return nil
	}
	return c.commitAcksOf(e)
}

// commitTaken commits the sealed segments, oldest first, and stops at the first that fails. It returns the seq up to which
// every record has been committed or tried: not what has been sealed since, which nobody may take for durable.
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

// build makes a batch of a sealed segment. Its bytes belong to s.builder.
func (c *committer) build(seg *journal.Segment) (b entry, value []byte) {
	seg.Wait()
	c.builder.Reset()
	_, err := seg.Scan(func(seq uint64, payload []byte) {
		response := event.IsResponseRecord(payload)
		if c.builder.Add(seq, payload, response) != nil {
			return // a record this binary did not write; counted with the missing ones
		}
		if b.Records == 0 {
			b.First = seq
		}
		b.Last = seq
		b.Records++
		if response {
			b.Responses++
		}
	})
	if err != nil {
		c.o.Logger.Error("journal segment cannot be read to its end", "error", err)
	}
	b.Size = c.builder.Size()
	b.at = c.o.Now().Add(-c.o.CommitInterval)
	return b, c.builder.Bytes()
}

// commitSegment writes one segment to the queue, in a new queue file if the present one fails.
func (c *committer) commitSegment(e *epoch, seg *journal.Segment) error {
	if e.writer() == nil {
		return ErrUnavailable // reopen begins a new file
	}
	b, value := c.build(seg)
	if b.Records == 0 {
		c.committed(e, seg, nil, nil, nil)
		c.recycle(seg)
		return nil
	}
	err := c.write(e, seg.Generation(), &b, value)
	if err != nil && !errors.Is(err, queue.ErrFull) {
		if err = c.roll(e, err); err != nil {
			return err
		}
		b, value = c.build(seg) // roll used the builder for the segments held
		err = c.write(e, seg.Generation(), &b, value)
	}
	if err == nil {
		c.committed(e, seg, &b, value, e.writer())
		c.recycleHeld(e)
		if j := c.journal.Load(); j != nil {
			j.Hold(seg)
		}
		return nil
	}
	if errors.Is(err, queue.ErrFull) {
		c.fullCommits.Add(1)
		c.setDegraded("queue is full: " + err.Error())
		return fmt.Errorf("%w: %w", ErrQueueFull, err)
	}
	c.commitFailed(err)
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// write commits a batch together with the acknowledgements. In a full queue, it commits these first, to make room.
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

// committed moves a segment from taken to the index. The responses that its batch misses are counted as dropped.
func (c *committer) committed(e *epoch, seg *journal.Segment, b *entry, value []byte, q *queue.File) {
	_, published := seg.Published()
	lost := uint64(0)
	defer func() {
		if lost > 0 || seg.Faulted() {
			c.aside.report(c.aside.name(e.id, "loss"), fmt.Sprintf("A segment of the journal could not be written or read any more. What it did not take, and %d responses of it, count as dropped (%s, %s).",
				lost, RefusedFault, lostDamaged), errors.New("the mapped file was damaged or cut off while it was in use"))
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	e.taken = e.taken[1:]
	e.generation = max(e.generation, seg.Generation())
	if b != nil {
		published -= min(published, uint64(b.Responses))
		e.recorded += uint64(b.Responses)
		e.lastSeq = b.Last
		b.file = q
		if c.cachedBytes+len(value) <= cacheBytesMax {
			b.cached = append(make([]byte, 0, len(value)), value...)
			c.cachedBytes += len(value)
		}
		e.index = append(e.index, *b)
	}
	if published > 0 {
		e.counters.drop(lostDamaged, published)
		lost = published
	}
	c.degraded = ""
	c.changedLocked()
}

// recycleHeld lets the journal use again what an earlier commit took, now that a later one has followed.
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

// reopen tries again what failed: the active spool, its queue file, its journal's failed segments, folders that were busy
// or could not be read.
func (c *committer) reopen() error {
	if c.tallies {
		c.skipped = append(c.skipped, c.takeTallies()...)
	}
	if len(c.skipped) > 0 {
		again := c.skipped
		c.skipped = nil
		c.recoverAll(again)
	}
	j := c.journal.Load()
	if j == nil {
		c.activate()
		return nil
	}
	if err := j.Repair(); err != nil {
		c.o.Logger.Warn("journal segment cannot be replaced", "error", err)
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
