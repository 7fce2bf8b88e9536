package spool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// Run commits the journal to the queue and tries failed spools again, until ctx is done. It does not close the Set.
func (s *Set) Run(ctx context.Context) error {
	commit, acks, reopen := stopped(), stopped(), time.NewTimer(s.o.ReopenInterval)
	defer commit.Stop()
	defer acks.Stop()
	defer reopen.Stop()
	armed, acksArmed := false, false
	var drops dropLog
	defer func() { drops.log(s, time.Now().Add(dropLogInterval)) }()
	failed := false // the last commit failed: wait for the interval before the next, whoever kicks
	for {
		due := false
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
		case <-commit.C:
			due, armed = true, false
		case <-acks.C:
			acksArmed = false
			_ = s.step(ctx, s.commitAcks)
		case <-reopen.C:
			_ = s.step(ctx, s.reopen)
			_ = s.step(ctx, s.expire)
			reopen.Reset(s.o.ReopenInterval)
			drops.log(s, time.Now())
		}
		if due || (!failed && s.urgent()) {
			failed = s.step(ctx, func() error { return s.commit(false) }) != nil
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
func (s *Set) step(ctx context.Context, fn func() error) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	if s.closing.Load() {
		return ErrClosed
	}
	return fn()
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
func (s *Set) commit(force bool) error {
	j := s.journal.Load()
	if j == nil {
		if err := s.commitAcks(); err != nil {
			return err
		}
		return ErrUnavailable
	}
	e := s.current
	err := s.freeHeld(e, j)
	s.reportDrops(j)
	j.Seal(false)
	through, takenErr := s.commitTaken(e, j)
	err = errors.Join(err, takenErr)
	if err == nil {
		err = s.freeHeld(e, j)
	}
	if err == nil && force && j.Seal(true) {
		through, err = s.commitTaken(e, j)
	}
	s.durable.decide(through, takenErr == nil && err == nil)
	return err
}

// freeHeld makes the later commit that lets segments be reused, when there is no free one left and nothing else to write.
func (s *Set) freeHeld(e *epoch, j *journal.Journal) error {
	if j.Held() == 0 || j.Pending().Free > 0 {
		return nil
	}
	return s.commitAcksOf(e)
}

// commitTaken commits the sealed segments, oldest first, and stops at the first that fails. It returns the seq up to which
// every record has been committed or tried: not what has been sealed since, which nobody may take for durable.
func (s *Set) commitTaken(e *epoch, j *journal.Journal) (through uint64, err error) {
	for {
		s.mu.Lock()
		var sealed []*journal.Segment
		sealed, through = j.Sealed()
		e.taken = append(e.taken, sealed...)
		var seg *journal.Segment
		if len(e.taken) > 0 {
			seg = e.taken[0]
		}
		s.mu.Unlock()
		if seg == nil {
			return through, nil
		}
		if err := s.commitSegment(e, seg); err != nil {
			return through, err
		}
	}
}

// build makes a batch of a sealed segment. Its bytes belong to s.builder.
func (s *Set) build(seg *journal.Segment) (b entry, value []byte) {
	seg.Wait()
	s.builder.Reset()
	_, err := seg.Scan(func(seq uint64, payload []byte) {
		response := event.IsResponseRecord(payload)
		if s.builder.Add(seq, payload, response) != nil {
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
		s.o.Logger.Error("journal segment cannot be read to its end", "error", err)
	}
	b.Size = s.builder.Size()
	b.at = s.o.Now().Add(-s.o.CommitInterval)
	return b, s.builder.Bytes()
}

// commitSegment writes one segment to the queue, in a new queue file if the present one fails.
func (s *Set) commitSegment(e *epoch, seg *journal.Segment) error {
	if e.writer() == nil {
		return ErrUnavailable // reopen begins a new file
	}
	b, value := s.build(seg)
	if b.Records == 0 {
		s.committed(e, seg, nil, nil, nil)
		s.recycle(seg)
		return nil
	}
	err := s.write(e, seg.Generation(), &b, value)
	if err != nil && !errors.Is(err, queue.ErrFull) {
		if err = s.roll(e, err); err != nil {
			return err
		}
		b, value = s.build(seg) // roll used the builder for the segments held
		err = s.write(e, seg.Generation(), &b, value)
	}
	if err == nil {
		s.committed(e, seg, &b, value, e.writer())
		s.recycleHeld(e)
		if j := s.journal.Load(); j != nil {
			j.Hold(seg)
		}
		return nil
	}
	if errors.Is(err, queue.ErrFull) {
		s.fullCommits.Add(1)
		s.setDegraded("queue is full: " + err.Error())
		return fmt.Errorf("%w: %w", ErrQueueFull, err)
	}
	s.commitFailed(err)
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// write commits a batch together with the acknowledgements. In a full queue, it commits these first, to make room.
func (s *Set) write(e *epoch, generation uint64, b *entry, value []byte) error {
	q := e.writer()
	if q == nil {
		return fmt.Errorf("%w: no queue file", ErrUnavailable)
	}
	change := func() queue.Change {
		s.mu.Lock()
		defer s.mu.Unlock()
		return queue.Change{Batch: &b.Batch, Value: value, Removals: q.Removals(), State: e.stateLocked(generation, b)}
	}
	c := change()
	err := q.Commit(c)
	if errors.Is(err, queue.ErrFull) && c.Removals > 0 {
		if err := s.commitAcksOf(e); err != nil {
			return err
		}
		c = change()
		err = q.Commit(c)
	}
	if err != nil {
		return err //nolint:wrapcheck // the callers say what failed
	}
	s.commits.Add(1)
	e.counters.committed(c.State)
	s.pruneAcked(e, c.State)
	return nil
}

// committed moves a segment from taken to the index. The responses that its batch misses are counted as dropped.
func (s *Set) committed(e *epoch, seg *journal.Segment, b *entry, value []byte, q *queue.File) {
	_, published := seg.Published()
	lost := uint64(0)
	defer func() {
		if lost > 0 || seg.Faulted() {
			s.report(s.quarantineName(e, "loss"), fmt.Sprintf("A segment of the journal could not be written or read any more. What it did not take, and %d responses of it, count as dropped (%s, %s).",
				lost, RefusedFault, lostDamaged), errors.New("the mapped file was damaged or cut off while it was in use"))
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	e.taken = e.taken[1:]
	e.generation = max(e.generation, seg.Generation())
	if b != nil {
		published -= min(published, uint64(b.Responses))
		e.recorded += uint64(b.Responses)
		e.lastSeq = b.Last
		b.file = q
		if s.cachedBytes+len(value) <= cacheBytesMax {
			b.cached = append(make([]byte, 0, len(value)), value...)
			s.cachedBytes += len(value)
		}
		e.index = append(e.index, *b)
	}
	if published > 0 {
		e.counters.drop(lostDamaged, published)
		lost = published
	}
	s.degraded = ""
	s.changedLocked()
}

// recycleHeld lets the journal use again what an earlier commit took, now that a later one has followed.
func (s *Set) recycleHeld(e *epoch) {
	if j := s.journal.Load(); j != nil && e == s.current {
		j.RecycleHeld()
	}
}

func (s *Set) recycle(seg *journal.Segment) {
	if j := s.journal.Load(); j != nil {
		j.Recycle(seg)
	}
}

// reopen tries again what failed: the active spool, its queue file, its journal's failed segments, folders that were busy
// or could not be read.
func (s *Set) reopen() error {
	if len(s.skipped) > 0 {
		again := s.skipped
		s.skipped = nil
		s.recoverAll(again)
	}
	j := s.journal.Load()
	if j == nil {
		s.activate()
		return nil
	}
	if err := j.Repair(); err != nil {
		s.o.Logger.Warn("journal segment cannot be replaced", "error", err)
	}
	e := s.current
	if e.writer() != nil {
		return nil
	}
	if err := s.roll(e, errors.New("no queue file")); err != nil {
		return err
	}
	return s.commit(false)
}
