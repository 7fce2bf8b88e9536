package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/disk"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// Source is the reading side of a spool: a *Set in the same process, or a *Client over a connection.
type Source interface {
	// Peek returns the oldest batches that were not acknowledged, all of one epoch, in order of seq. Epochs of dead
	// processes come first, at once. Of the active epoch it waits until MinEvents or MaxBytes are committed, until MaxWait
	// after the oldest of them, or for a Flush. It returns nothing, and no error, after MaxWait with nothing to return.
	// The batches are read-only and stay valid.
	Peek(ctx context.Context, o PeekOptions) ([]event.Batch, error)
	// Ack says that everything of the epoch up to and including seq is durable elsewhere. It takes effect at once and is
	// durable with a later commit; after a crash before that, events are delivered again.
	Ack(ctx context.Context, epoch uuid.UUID, seq uint64) error
	// Ledgers returns the account of every epoch held, oldest first. applied tells, per epoch, the seq up to which the
	// caller holds the events itself: they do not count as Spooled.
	Ledgers(ctx context.Context, applied map[uuid.UUID]uint64) ([]Ledger, error)
	// Settle makes the account of an epoch agree with the consumer's, who holds so many of its responses for good, those up
	// to seq. What is up to seq counts as acknowledged; what was counted as damaged, or given up for its age, after the consumer had
	// taken it counts as recorded again. The responses that were acknowledged, and that the consumer does not have, are missing: the
	// consumer has lost them and must say so in its own account.
	Settle(ctx context.Context, epoch uuid.UUID, seq, held uint64) (missing uint64, err error)
	// Retire removes the folder of a closed epoch whose events are all acknowledged. The caller has stored its ledger
	// durably. An epoch that is not held any more is not an error; one that is not drained gives ErrNotDrained.
	Retire(ctx context.Context, epoch uuid.UUID) error
	// Publish leaves bytes with the traffic process under a topic. They are the consumer's and are not interpreted.
	Publish(ctx context.Context, topic string, body []byte) error
}

// PeekOptions say how much Peek waits for and returns. Zero means the default.
type PeekOptions struct {
	MinEvents int           // events worth returning before MaxWait, default 1
	MaxBytes  int           // stop before a batch that would exceed it, but return at least one; default 1 MiB
	MaxWait   time.Duration // default: do not wait
}

var _ Source = (*Set)(nil)

// Peek implements Source.
func (s *Set) Peek(ctx context.Context, o PeekOptions) ([]event.Batch, error) {
	def(&o.MinEvents, 1)
	def(&o.MaxBytes, 1<<20)
	overall := time.NewTimer(o.MaxWait)
	defer overall.Stop()
	last := false
	for {
		if s.closing.Load() {
			return nil, fmt.Errorf("peek spool: %w", ErrClosed)
		}
		s.mu.Lock()
		e, wait := s.readyLocked(o)
		changed := s.changed
		if e != nil && (wait <= 0 || last) {
			chosen := e.chooseLocked(o.MaxBytes)
			e.peeked, e.peekedAt = chosen[len(chosen)-1].Last, s.o.Now()
			s.mu.Unlock()
			batches, err := s.load(e, chosen)
			if err != nil || len(batches) > 0 {
				return batches, err
			}
			continue // all of them were damaged, or acknowledged meanwhile
		}
		s.mu.Unlock()
		if last {
			return nil, nil
		}
		var oldest <-chan time.Time
		if e != nil {
			oldest = time.After(min(wait, o.MaxWait))
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("peek spool: %w", ctx.Err())
		case <-changed:
		case <-oldest:
			last = true
		case <-overall.C:
			last = true
		}
	}
}

// readyLocked returns the epoch to read next, nil if nothing is committed, and how long to wait for more.
func (s *Set) readyLocked(o PeekOptions) (*epoch, time.Duration) {
	for _, e := range s.epochs {
		if len(e.index) == 0 {
			continue
		}
		if e.closed || e.index[0].First <= e.flushed {
			return e, 0
		}
		events, bytes := 0, 0
		for i := range e.index {
			events += int(e.index[i].Records)
			bytes += e.index[i].Size
			if events >= o.MinEvents || bytes >= o.MaxBytes {
				return e, 0
			}
		}
		return e, max(0, o.MaxWait-max(0, s.o.Now().Sub(e.index[0].at)))
	}
	return nil, 0
}

// chooseLocked copies the entries that Peek returns.
func (e *epoch) chooseLocked(maxBytes int) []entry {
	n, bytes := 0, 0
	for n < len(e.index) {
		bytes += e.index[n].Size
		if n > 0 && bytes > maxBytes {
			break
		}
		n++
	}
	return append([]entry(nil), e.index[:n]...)
}

// load reads the values of entries. Damaged ones are set aside and counted.
func (s *Set) load(e *epoch, chosen []entry) ([]event.Batch, error) {
	crash.Point("spool.peek.before")
	out := make([]event.Batch, 0, len(chosen))
	for i := range chosen {
		c := &chosen[i]
		raw := c.cached
		var err error
		if raw == nil {
			raw, err = c.file.Read(&c.Batch)
		}
		if s.closing.Load() && err != nil {
			return nil, ErrClosed
		}
		var b event.Batch
		if err == nil && raw != nil {
			b, err = event.ParseBatch(raw)
		}
		if err == nil && raw != nil && b.Epoch == e.id && b.FirstSeq == c.First && b.LastSeq == c.Last {
			out = append(out, b)
			continue
		}
		if err == nil {
			err = queue.ErrDamaged
		}
		s.lose(e, c, raw, err)
	}
	crash.Point("spool.peek.after")
	return out, nil
}

// lose takes a batch that cannot be read out of the index, keeps its bytes aside, and counts its responses as dropped.
func (s *Set) lose(e *epoch, c *entry, raw []byte, cause error) {
	s.mu.Lock()
	if e.findLocked(c.First) == nil {
		s.mu.Unlock()
		return // acknowledged meanwhile, which is why its value is gone
	}
	e.removeLocked(c.First)
	e.recorded -= min(e.recorded, uint64(c.Responses))
	e.counters.drop(lostDamaged, uint64(c.Responses))
	if c.file != nil {
		c.file.Remove(&c.Batch)
	}
	e.ackPending = true
	s.mu.Unlock()
	s.notify()
	s.quarantined.Add(1)
	name := s.quarantineName(e, fmt.Sprintf("%d-%d.batch", c.First, c.Last))
	err := os.MkdirAll(filepath.Dir(name), 0o750)
	if err == nil && raw != nil {
		err = os.WriteFile(name, raw, 0o600)
	}
	s.o.Logger.Error("damaged batch of the queue set aside", "epoch", e.id, "first_seq", c.First, "last_seq", c.Last,
		"responses", c.Responses, "file", name, "cause", cause, "error", err)
	s.report(name, fmt.Sprintf("a batch of %d responses, seq %d to %d of epoch %s: they count as dropped (%s).", c.Responses, c.First, c.Last, e.id, lostDamaged), cause)
}

// Ack implements Source.
func (s *Set) Ack(_ context.Context, id uuid.UUID, seq uint64) error {
	crash.Point("spool.ack.before")
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.epochLocked(id)
	if e == nil {
		return fmt.Errorf("acknowledge %s: %w", id, ErrUnknownEpoch)
	}
	if seq > e.lastSeq {
		return fmt.Errorf("acknowledge %s up to %d: %w: %d", id, seq, ErrAckBeyond, e.lastSeq)
	}
	s.cachedBytes -= e.ackLocked(seq)
	s.notify()
	crash.Point("spool.ack.after")
	return nil
}

func (s *Set) epochLocked(id uuid.UUID) *epoch {
	for _, e := range s.epochs {
		if e.id == id {
			return e
		}
	}
	return nil
}

// ledgerTries bounds how often Ledgers looks again for a moment with no append in flight.
const ledgerTries = 100

// Ledgers implements Source.
func (s *Set) Ledgers(_ context.Context, applied map[uuid.UUID]uint64) ([]Ledger, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Ledger, 0, len(s.epochs))
	for _, e := range s.epochs {
		spooled, err := e.spooledLocked(applied[e.id])
		if err != nil {
			return nil, fmt.Errorf("ledger of %s: %w", e.id, err)
		}
		if e == s.current {
			out = append(out, s.liveLedgerLocked(e, spooled))
			continue
		}
		l := e.closedLedgerLocked()
		l.Spooled = spooled
		out = append(out, l)
	}
	return out, nil
}

// closedLedgerLocked is the account of an epoch that takes no more, as if nothing of it waited.
func (e *epoch) closedLedgerLocked() Ledger {
	l := Ledger{Epoch: e.id, Recorded: e.recorded, Excluded: e.counters.excluded(), Closed: true, LastSeq: e.lastSeq}
	var dropped uint64
	l.Dropped, dropped = e.counters.droppedByReason()
	l.Responses = l.Recorded + l.Excluded + dropped
	return l
}

// Retired returns the final ledgers of the epochs that were retired since Open: of what Ledgers had before and has no more.
func (s *Set) Retired() []Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.retired)
}

// liveLedgerLocked reads the parts first and the responses last: an append in flight then shows as a response too many,
// and the sample is taken again. If there is one in flight each time, it is left out.
func (s *Set) liveLedgerLocked(e *epoch, spooled uint64) (l Ledger) {
	for range ledgerTries {
		l = Ledger{Epoch: e.id, Recorded: e.recorded, Spooled: spooled, LastSeq: e.lastSeq}
		for _, seg := range e.taken {
			_, responses := seg.Published()
			l.Recorded, l.Spooled = l.Recorded+responses, l.Spooled+responses
		}
		if j := s.journal.Load(); j != nil {
			p := j.Pending()
			l.Recorded, l.Spooled = l.Recorded+p.Responses, l.Spooled+p.Responses
			l.LastSeq = j.LastSeq()
		}
		var dropped uint64
		l.Excluded = e.counters.excluded()
		l.Dropped, dropped = e.counters.droppedByReason()
		l.Responses = s.responses.Load()
		if sum := l.Recorded + l.Excluded + dropped; sum != l.Responses {
			l.Responses = sum
			continue
		}
		return l
	}
	return l
}

// spooledLocked counts the committed responses with a seq above what was applied and acknowledged.
func (e *epoch) spooledLocked(applied uint64) (n uint64, err error) {
	through := max(applied, e.acked)
	for _, held := range [][]entry{e.expiring, e.index} {
		for i := range held {
			b := &held[i]
			switch {
			case b.First > through:
				n += uint64(b.Responses)
			case b.Last > through:
				part, err := b.responsesAfter(through)
				if err != nil {
					return 0, err
				}
				n += part
			}
		}
	}
	return n, nil
}

// responsesAfter counts within a batch; it reads the value, which is rare: consumers apply whole batches unless one fails.
func (b *entry) responsesAfter(seq uint64) (n uint64, err error) {
	raw := b.cached
	if raw == nil {
		if raw, err = b.file.Read(&b.Batch); err != nil {
			return 0, err
		}
	}
	batch, err := event.ParseBatch(raw)
	if err != nil {
		return 0, err
	}
	for at, record := range batch.All() {
		if at > seq && event.IsResponseRecord(record) {
			n++
		}
	}
	return n, nil
}

// Retire implements Source. The folder is renamed before it is removed, so that a crash leaves no half of it.
func (s *Set) Retire(ctx context.Context, id uuid.UUID) error {
	if err := s.acquire(ctx); err != nil {
		return fmt.Errorf("retire %s: %w", id, err)
	}
	defer s.release()
	if s.closing.Load() {
		return fmt.Errorf("retire %s: %w", id, ErrClosed)
	}
	s.mu.Lock()
	e := s.epochLocked(id)
	if e == nil {
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	if e.closed {
		s.reportClosedDrops(e) // the figures are final now
	}
	s.mu.Lock()
	drained := e.closed && len(e.index) == 0
	s.mu.Unlock()
	if !drained {
		return fmt.Errorf("retire %s: %w", id, ErrNotDrained)
	}
	if err := s.discard(e); err != nil {
		return fmt.Errorf("retire %s: %w", id, err)
	}
	return nil
}

// discard removes an epoch and its folder. It fails only if nothing was done.
func (s *Set) discard(e *epoch) error {
	retired := filepath.Join(s.o.Dir, retiredPrefix+e.id.String())
	if err := os.Rename(e.dir, retired); err != nil {
		return fmt.Errorf("set spool folder aside: %w", err)
	}
	s.mu.Lock() // its files are closed when nobody finds it any more
	if i := slices.Index(s.epochs, e); i >= 0 {
		s.epochs = slices.Delete(slices.Clone(s.epochs), i, i+1)
		s.retired = append(s.retired, e.closedLedgerLocked())
	}
	s.mu.Unlock()
	if err := errors.Join(disk.SyncDir(s.o.Dir), e.closeFiles(), os.RemoveAll(retired)); err != nil {
		s.o.Logger.Warn("retired spool folder stays until the next start", "folder", retired, "error", err)
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
