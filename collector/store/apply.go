package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// hoursMax bounds the hours in one batch. Real batches span one or two.
const hoursMax = 64

// StateChange is one change of path state: nil Value deletes the key.
type StateChange struct{ Key, Value []byte }

// Item is one event of a batch, as it was decoded and labelled.
type Item struct {
	Seq uint64
	// Host, Method and Label name the row that counts the event; any of them may be "(other)".
	Host, Method, Label string
	// Event is stored field by field; its slices are read during Apply only.
	Event event.Event
	// Record is the event's encoded form, used for its size; nil means that the event's own Size is taken.
	Record []byte
}

func (it *Item) size() int {
	if it.Record != nil {
		return len(it.Record)
	}
	return it.Event.Size()
}

// Batch is a run of events of one epoch. Apply only reads it.
type Batch struct {
	Epoch     uuid.UUID
	LastSeq   uint64 // the watermark after the batch; sequence numbers without an item are holes
	Items     []Item // ascending by Seq, at most MaxItems
	PathState []StateChange
}

// applyBuffer is memory reused from batch to batch.
type applyBuffer struct {
	encoder *blockEncoder
	keys    []batchKey
	keyOf   map[stats.Key]uint32
	hours   []int64
	rowOf   []uint32 // per item: its key
	drops   toldDrops
	blocks  []encodedBlock
	bytes   []byte
}

// batchKey is a row key that a batch touches.
type batchKey struct {
	key     stats.Key
	counted bool // by a response; drop records count nothing
	row     *liveRow
}

type encodedBlock struct {
	id         catalogue.BlockID
	from, size int // of the block in bytes
	metaFrom   int
	metaSize   int
}

func newApplyBuffer() (*applyBuffer, error) {
	encoder, err := newBlockEncoder()
	if err != nil {
		return nil, err
	}
	return &applyBuffer{encoder: encoder, keyOf: map[stats.Key]uint32{}, drops: toldDrops{}}, nil
}

func (a *applyBuffer) close() { _ = a.encoder.zstd.Close() }

// Apply writes a batch durably and counts it, exactly once.
//
// The events become blocks of one hour and at most [BlockEventsMax] events; blocks, batch record, watermark, path state
// and totals go into one synced transaction, and only then are the events folded into the rows. Items at or below the
// epoch's watermark are skipped; a batch whose LastSeq is not above it changes nothing, its path state included.
//
// The error wraps [ErrUnavailable] if the store is to blame, [ErrBatchTooLarge] if the batch has more than [MaxItems]
// items or does not fit one transaction, and [ErrInvalid] if it contradicts itself. In each case the batch has not been
// applied, unless the error is [ErrFailed]: then only opening the store again tells.
func (s *Store) Apply(b *Batch) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.applyLocked(b); err != nil {
		return fmt.Errorf("apply batch of epoch %s up to seq %d: %w", b.Epoch, b.LastSeq, err)
	}
	s.mu.Lock()
	crowded := len(s.live) > s.o.LiveRowsMax
	s.mu.Unlock()
	if crowded {
		return s.relieve()
	}
	return nil
}

func (s *Store) applyLocked(b *Batch) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()

	s.mu.Lock()
	mark, next, began := s.watermarks[b.Epoch], s.state, s.began
	s.mu.Unlock()
	_, seen := s.watermark(b.Epoch)
	if seen && b.LastSeq <= mark.seq {
		return nil
	}
	items, err := newItems(b, mark.seq, seen)
	if err != nil {
		return err
	}
	next.lastBatch++
	responses := s.apply.index(b.Epoch, items)
	if err := s.apply.encode(b.Epoch, items, next.lastBatch, s.o.Now()); err != nil {
		return err
	}
	next.totals.Applied += responses
	mark.seq = b.LastSeq
	mark.applied += responses
	if mark.from == 0 && len(items) > 0 {
		mark.from = items[0].Seq
	}

	if err := s.pinRows(s.apply.keys); err != nil {
		return err
	}
	defer s.unpinRows(s.apply.keys)
	if err := s.beganBy(items, began); err != nil {
		return err
	}
	crash.Point("store.apply.before")
	if err := s.writeBatch(b, len(items), mark, next); err != nil {
		return err
	}
	crash.Point("store.sync.after")
	s.fold(b.Epoch, items, mark, next)
	crash.Point("store.apply.after")
	return nil
}

// writeBatch writes what a batch changes in one transaction. The path state of a single event may not fit, because one look at a full
// table can change all of it, and such an event cannot be divided: its path state goes first, by itself. Labels that were learnt
// for an event that is then applied again, after a crash, are learnt already.
func (s *Store) writeBatch(b *Batch, items int, mark watermark, next state) error {
	err := s.update(func(txn *badger.Txn) error { return s.apply.write(txn, b, b.PathState, mark, next) })
	if !errors.Is(err, ErrBatchTooLarge) || items > 1 || len(b.PathState) == 0 {
		return err
	}
	if err := s.setPaths(context.Background(), b.PathState); err != nil {
		return err
	}
	return s.update(func(txn *badger.Txn) error { return s.apply.write(txn, b, nil, mark, next) })
}

// beganBy notes that the books began with the oldest of the responses, where that is earlier than known: it waited in a spool
// before there was a store. The caller holds writeMu.
func (s *Store) beganBy(items []Item, began int64) error {
	oldest := began
	for i := range items {
		if e := &items[i].Event; e.IsResponse() {
			oldest = min(oldest, e.TimeMicros)
		}
	}
	if oldest == began {
		return nil
	}
	err := s.update(func(txn *badger.Txn) error { return s.writeSchema(txn, oldest) })
	if err == nil {
		s.mu.Lock()
		s.began = oldest
		s.mu.Unlock()
	}
	return err
}

func (s *Store) watermark(epoch uuid.UUID) (watermark, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.watermarks[epoch]
	return w, ok
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
		if len(it.Host)+len(it.Method)+len(it.Label) > keyTextBytesMax {
			return nil, fmt.Errorf("%w: seq %d: row key of more than %d bytes", ErrInvalid, it.Seq, keyTextBytesMax)
		}
		if len(it.Event.Path) > event.PathBytesMax || len(it.Event.TraceID) > event.TraceIDBytesMax || len(it.Event.RequestID) > event.RequestIDBytesMax {
			return nil, fmt.Errorf("%w: seq %d: field beyond its limit", ErrInvalid, it.Seq)
		}
		if seen && it.Seq <= mark {
			skip = i + 1
		}
	}
	return b.Items[skip:], nil
}

// index finds the hours, row keys and drop records of the items and returns the number of responses.
func (a *applyBuffer) index(epoch uuid.UUID, items []Item) (responses uint64) {
	clear(a.keyOf)
	clear(a.drops)
	clear(a.keys)
	a.keys, a.hours, a.rowOf = a.keys[:0], a.hours[:0], a.rowOf[:0]
	for i := range items {
		it := &items[i]
		key := stats.Key{Hour: stats.HourOfMicros(it.Event.TimeMicros), Host: it.Host, Method: it.Method, Label: it.Label}
		n, known := a.keyOf[key]
		if !known {
			n = uint32(len(a.keys)) //nolint:gosec // at most MaxItems
			a.keyOf[key] = n
			a.keys = append(a.keys, batchKey{key: key})
			a.addHour(key.Hour)
		}
		if it.Event.IsResponse() {
			a.keys[n].counted = true
			responses++
		} else {
			a.drops.note(epoch, it.Seq, &it.Event)
		}
		a.rowOf = append(a.rowOf, n)
	}
	return responses
}

func (a *applyBuffer) addHour(hour int64) {
	for _, h := range a.hours {
		if h == hour {
			return
		}
	}
	if len(a.hours) <= hoursMax {
		a.hours = append(a.hours, hour)
	}
}

// encode makes the blocks, hour by hour.
func (a *applyBuffer) encode(epoch uuid.UUID, items []Item, batch uint64, now time.Time) error {
	if len(a.hours) > hoursMax {
		return fmt.Errorf("%w: more than %d hours", ErrBatchTooLarge, hoursMax)
	}
	a.blocks, a.bytes = a.blocks[:0], a.bytes[:0]
	index := uint16(0)
	for _, hour := range a.hours {
		a.encoder.begin(epoch, now)
		for i := range items {
			if len(a.hours) > 1 && a.keys[a.rowOf[i]].key.Hour != hour {
				continue
			}
			if m := &a.encoder.meta; m.records == BlockEventsMax || m.rawBytes >= blockBytesMax {
				a.endBlock(catalogue.BlockID{Hour: hour, Batch: batch, Index: index})
				index++
				a.encoder.begin(epoch, now)
			}
			a.encoder.add(&items[i], a.rowOf[i])
		}
		a.endBlock(catalogue.BlockID{Hour: hour, Batch: batch, Index: index})
		index++
	}
	return nil
}

func (a *applyBuffer) endBlock(id catalogue.BlockID) {
	b := encodedBlock{id: id, from: len(a.bytes)}
	a.bytes = a.encoder.finish(a.bytes)
	b.size = len(a.bytes) - b.from
	b.metaFrom = len(a.bytes)
	a.bytes = a.encoder.meta.append(a.bytes)
	b.metaSize = len(a.bytes) - b.metaFrom
	a.blocks = append(a.blocks, b)
}

// write puts everything that a batch changes into one transaction.
func (a *applyBuffer) write(txn *badger.Txn, b *Batch, paths []StateChange, mark watermark, next state) error {
	for _, block := range a.blocks {
		key := blockKey(prefixBlock, block.id)
		if err := set(txn, key, a.bytes[block.from:block.from+block.size]); err != nil {
			return err
		}
		key = blockKey(prefixUnplanned, block.id)
		if err := set(txn, key, a.bytes[block.metaFrom:block.metaFrom+block.metaSize]); err != nil {
			return err
		}
	}
	if err := a.drops.write(txn); err != nil {
		return err
	}
	for _, change := range paths {
		if err := setPath(txn, change); err != nil {
			return err
		}
	}
	if err := set(txn, numberKey(prefixBatch, next.lastBatch), a.batchRecord()); err != nil {
		return err
	}
	if err := set(txn, epochKey(prefixWatermark, b.Epoch), mark.encode()); err != nil {
		return err
	}
	if err := set(txn, []byte{prefixState}, next.encode()); err != nil {
		return err
	}
	crash.Point("store.sync.before")
	return nil
}

func setPath(txn *badger.Txn, change StateChange) error {
	key := append([]byte{prefixPath}, change.Key...)
	if change.Value != nil {
		return set(txn, key, change.Value)
	}
	if err := txn.Delete(key); err != nil {
		return set(txn, key, nil) // gives the same error, in this package's terms
	}
	return nil
}

const batchRecordVersion = 1

// batchRecord lists the blocks of a batch: version (1), n, n × (zigzag hour, index).
func (a *applyBuffer) batchRecord() []byte {
	out := []byte{batchRecordVersion}
	put(&out, uint64(len(a.blocks)))
	for _, b := range a.blocks {
		putSigned(&out, b.id.Hour)
		put(&out, uint64(b.id.Index))
	}
	return out
}

func parseBatchRecord(batch uint64, v []byte) ([]catalogue.BlockID, error) {
	in := reader{rest: v}
	version := in.byte()
	n := in.length(1 << 16)
	if version != batchRecordVersion || in.bad {
		return nil, fmt.Errorf("%w: record of batch %d", ErrDamaged, batch)
	}
	ids := make([]catalogue.BlockID, 0, n)
	for range n {
		ids = append(ids, catalogue.BlockID{Hour: in.varint(), Batch: batch, Index: uint16(in.length(1<<16 - 1))}) //nolint:gosec // bounded
	}
	if in.bad || len(in.rest) != 0 {
		return nil, fmt.Errorf("%w: record of batch %d", ErrDamaged, batch)
	}
	return ids, nil
}

// fold counts the items and makes the batch visible, all in one step for whoever holds mu.
func (s *Store) fold(epoch uuid.UUID, items []Item, mark watermark, next state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range items {
		if it := &items[i]; it.Event.IsResponse() {
			s.apply.keys[s.apply.rowOf[i]].row.row.Add(&it.Event)
		}
	}
	for i := range s.apply.keys {
		if row := s.apply.keys[i].row; row != nil {
			row.dirty = true
			row.touched = s.generation
		}
	}
	s.watermarks[epoch] = mark
	s.state = next
	s.written += int64(len(s.apply.bytes))
}
