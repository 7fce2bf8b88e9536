package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/queue"
)

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
			continue // all of them were damaged, written by a newer version, or acknowledged in the meantime
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

// readyLocked returns the epoch to read next, or nil if nothing is committed, and how long to wait for more events in it.
func (s *Set) readyLocked(o PeekOptions) (*epoch, time.Duration) {
	for _, e := range s.epochs {
		if len(e.index) == 0 || e.newer {
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

// chooseLocked copies the index entries of the batches that Peek returns.
func (e *epoch) chooseLocked(maxBytes int) []entry {
	n, bytes := 0, 0
	for n < len(e.index) {
		bytes += e.index[n].Size
		if n > 0 && bytes > maxBytes {
			break
		}
		n++
	}
	return slices.Clone(e.index[:n])
}

// load reads the values of batches. Damaged ones are moved to the quarantine and counted. It stops at the first batch that a newer version
// wrote.
func (s *Set) load(e *epoch, chosen []entry) ([]event.Batch, error) {
	crash.Point("spool.peek.before")
	out := make([]event.Batch, 0, len(chosen))
	for i := range chosen {
		c := &chosen[i]
		raw, err := c.value()
		if s.closing.Load() && err != nil {
			return nil, ErrClosed
		}
		var b event.Batch
		if err == nil && raw != nil {
			if b, err = event.ParseBatch(raw); err == nil {
				err = b.CheckVersion()
			}
		}
		if errors.Is(err, event.ErrVersion) {
			s.suspend(e, c, err)
			break
		}
		if err == nil && raw != nil && b.Epoch == e.id && b.FirstSeq == c.First && b.LastSeq == c.Last {
			out = append(out, b)
			continue
		}
		if err == nil {
			err = queue.ErrDamaged
		}
		s.dropDamaged(e, c, raw, err)
	}
	crash.Point("spool.peek.after")
	return out, nil
}

// suspend stops reading an epoch until another process opens its folder. It is called when a newer wayside recorded the events and an older
// one was started afterwards. The ledgers still count the events as spooled. Later batches of the epoch must also wait, because the
// consumer's watermark cannot skip events.
func (s *Set) suspend(e *epoch, b *entry, cause error) {
	s.mu.Lock()
	suspended := e.newer
	e.newer = true
	s.mu.Unlock()
	if !suspended {
		s.o.Logger.Error("an epoch was recorded by a newer version of wayside: its events stay in the spool until that version is started again; all other epochs are applied",
			"epoch", e.id, "first_seq", b.First, "folder", e.dir, "cause", cause)
	}
}

// dropDamaged handles a batch that cannot be read: it removes the batch from the index, writes its bytes to the quarantine, and counts its
// responses as dropped.
func (s *Set) dropDamaged(e *epoch, b *entry, raw []byte, cause error) {
	s.mu.Lock()
	if e.findLocked(b.First) == nil {
		s.mu.Unlock()
		return // acknowledged in the meantime: its value may already have been removed
	}
	e.removeLocked(b.First)
	e.recorded -= min(e.recorded, uint64(b.Responses))
	e.counters.drop(lostDamaged, uint64(b.Responses))
	if b.file != nil {
		b.file.Remove(&b.Batch)
	}
	e.ackPending = true
	s.mu.Unlock()
	s.notify()
	s.quarantine.batch(e.id, &b.Batch, raw, cause)
}
