package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/event"
)

// Item is one event of a batch, decoded and labeled.
type Item = block.Item

// Batch is a run of events of one epoch. Apply only reads it.
type Batch struct {
	Epoch     uuid.UUID
	LastSeq   uint64 // the watermark after the batch; sequence numbers without an item are missing events
	Items     []Item // ascending by Seq, at most MaxItems
	PathState []StateChange
}

// Apply writes a batch durably and counts it, exactly once.
//
// The events become blocks, each of one hour and at most [block.EventsMax] events. One synced transaction writes the blocks, the batch
// record, the watermark, the path state and the totals; only then are the events folded into the rows. Items at or below the epoch's
// watermark are skipped. A batch whose LastSeq is not above the watermark changes nothing, not even the path state.
//
// The error wraps [ErrUnavailable] if the store is the cause, [ErrBatchTooLarge] if the batch has more than [MaxItems] items or does not
// fit into one transaction, and [ErrInvalid] if the batch contradicts itself. In each of these cases, the batch has not been applied.
// After [ErrFailed], only reopening the store shows whether the batch has been applied.
func (s *Store) Apply(b *Batch) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.applyBatch(b); err != nil {
		return fmt.Errorf("apply batch of epoch %s up to seq %d: %w", b.Epoch, b.LastSeq, err)
	}
	if s.crowded() {
		return s.makeRoom()
	}
	return nil
}

func (s *Store) applyBatch(b *Batch) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()

	mark, seen := s.watermark(b.Epoch)
	if seen && b.LastSeq <= mark.seq {
		return nil
	}
	items, err := newItems(b, mark.seq, seen)
	if err != nil {
		return err
	}
	next := s.current()
	next.lastBatch++
	responses := s.apply.index(b.Epoch, items)
	if err := s.apply.encode(b.Epoch, items, next.lastBatch, s.o.Now()); err != nil {
		return err
	}
	next.totals.Applied += responses
	mark.seq = b.LastSeq
	mark.applied += responses
	if len(items) > 0 {
		mark.took(items[0].Seq)
	}

	if err := s.pin(s.apply.keys); err != nil {
		return err
	}
	defer s.unpin(s.apply.keys)
	if err := s.noteBegan(items); err != nil {
		return err
	}
	crash.Point("store.apply.before")
	if err := s.writeBatch(b, len(items), mark, next); err != nil {
		return err
	}
	crash.Point("store.sync.after")
	s.fold(b.Epoch, items, mark, next)
	if len(items) > 0 {
		s.saw(b.Epoch, items[len(items)-1].Event.TimeMicros)
	}
	crash.Point("store.apply.after")
	return nil
}

// newItems checks a batch and returns the items above the watermark.
func newItems(b *Batch, mark uint64, seen bool) ([]Item, error) {
	if len(b.Items) > MaxItems {
		return nil, fmt.Errorf("%w: %d items, at most %d", ErrBatchTooLarge, len(b.Items), MaxItems)
	}
	skip := 0
	for i := range b.Items {
		it := &b.Items[i]
		if i > 0 && it.Seq <= b.Items[i-1].Seq || it.Seq > b.LastSeq {
			return nil, fmt.Errorf("%w: seq %d out of order", ErrInvalid, it.Seq)
		}
		if len(it.Host)+len(it.Method)+len(it.Label)+len(it.Route) >= block.KeyTextBytesMax {
			return nil, fmt.Errorf("%w: seq %d: row key of %d bytes or more", ErrInvalid, it.Seq, block.KeyTextBytesMax)
		}
		if len(it.Event.Path) > event.PathBytesMax || len(it.Event.TraceID) > event.TraceIDBytesMax || len(it.Event.RequestID) > event.RequestIDBytesMax ||
			len(it.Event.Route) > event.RouteBytesMax {
			return nil, fmt.Errorf("%w: seq %d: field above its limit", ErrInvalid, it.Seq)
		}
		if seen && it.Seq <= mark {
			skip = i + 1
		}
	}
	return b.Items[skip:], nil
}

// noteBegan moves the start of the books back to the oldest response. That response may be older than the store: it may have been waiting
// in a spool when the store was created. The caller holds writeMu.
func (s *Store) noteBegan(items []Item) error {
	s.Accounts.mu.Lock()
	began := s.began
	s.Accounts.mu.Unlock()
	oldest := began
	for i := range items {
		if e := &items[i].Event; e.IsResponse() {
			oldest = min(oldest, e.TimeMicros)
		}
	}
	if oldest == began {
		return nil
	}
	if err := s.update(func(txn *badger.Txn) error { return writeSchema(txn, oldest) }); err != nil {
		return err
	}
	s.Accounts.mu.Lock()
	defer s.Accounts.mu.Unlock()
	s.began = oldest
	return nil
}

// writeBatch writes everything that a batch changes in one transaction. A single event can change the whole path state, which may then be
// too large for the transaction, and a batch of one event cannot be divided. In that case, the path state is written first. If the
// process crashes before the event is written, the event is applied later, with the templates already learned.
func (s *Store) writeBatch(b *Batch, items int, mark watermark, next counters) error {
	write := func(paths []StateChange) error {
		return s.update(func(txn *badger.Txn) error { return s.apply.write(txn, b.Epoch, paths, mark, next) })
	}
	err := write(b.PathState)
	if !errors.Is(err, ErrBatchTooLarge) || items > 1 || len(b.PathState) == 0 {
		return err
	}
	if err := s.setPaths(context.Background(), b.PathState); err != nil {
		return err
	}
	return write(nil)
}

// fold counts the items and makes the batch visible. For every reader that holds both locks, this is a single step.
func (s *Store) fold(epoch uuid.UUID, items []Item, mark watermark, next counters) {
	s.Accounts.mu.Lock()
	defer s.Accounts.mu.Unlock()
	s.Statistics.mu.Lock()
	defer s.Statistics.mu.Unlock()
	for i := range items {
		if it := &items[i]; it.Event.IsResponse() {
			row := s.apply.keys[s.apply.rowOf[i]].row
			row.row.Add(&it.Event)
			s.minutes.add(row, &it.Event)
		}
	}
	for i := range s.apply.keys {
		if row := s.apply.keys[i].row; row != nil {
			row.dirty, row.touched = true, s.generation
		}
	}
	s.watermarks[epoch] = mark
	s.counters, s.lastBatch = next, next.lastBatch
	s.folded += len(items)
	s.written.Add(int64(len(s.apply.bytes)))
}
