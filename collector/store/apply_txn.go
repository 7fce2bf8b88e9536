package store

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// hoursMax limits the number of hours that one batch may span. Real batches span one or two.
const hoursMax = 64

// applyBuffer prepares the transaction of a batch. Its memory is reused from batch to batch.
type applyBuffer struct {
	encoder *block.Encoder
	keys    []batchKey
	keyOf   map[stats.Key]uint32
	hours   []int64
	rowOf   []uint32 // per item: the number of its row key
	drops   dropFigures
	blocks  []encodedBlock
	bytes   []byte
}

// batchKey is the key of a row that counts items of the batch.
type batchKey struct {
	key     stats.Key
	counted bool // whether any of the items is a response, because drop records are not counted in the row
	row     *liveRow
}

// encodedBlock locates a block, followed by a copy of its header, in applyBuffer.bytes.
type encodedBlock struct {
	id                catalogue.BlockID
	from, header, end int
}

func newApplyBuffer() *applyBuffer {
	return &applyBuffer{encoder: block.NewEncoder(), keyOf: map[stats.Key]uint32{}, drops: dropFigures{}}
}

func (a *applyBuffer) close() { a.encoder.Close() }

// index finds the hours, row keys and drop records of the items and returns the number of responses.
func (a *applyBuffer) index(epoch uuid.UUID, items []Item) (responses uint64) {
	clear(a.keyOf)
	clear(a.drops)
	clear(a.keys)
	a.keys, a.hours, a.rowOf = a.keys[:0], a.hours[:0], a.rowOf[:0]
	for i := range items {
		it := &items[i]
		key := stats.Key{Hour: stats.HourOfMicros(it.Event.TimeMicros), Host: it.Host, Method: it.Method, Label: it.Label, Route: it.Route}
		n, known := a.keyOf[key]
		if !known {
			n = uint32(len(a.keys))
			a.keyOf[key] = n
			a.keys = append(a.keys, batchKey{key: key})
			if len(a.hours) <= hoursMax && !slices.Contains(a.hours, key.Hour) {
				a.hours = append(a.hours, key.Hour)
			}
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

// encode builds the blocks, hour by hour.
func (a *applyBuffer) encode(epoch uuid.UUID, items []Item, batch uint64, now time.Time) error {
	if len(a.hours) > hoursMax {
		return fmt.Errorf("%w: more than %d hours", ErrBatchTooLarge, hoursMax)
	}
	a.blocks, a.bytes = a.blocks[:0], a.bytes[:0]
	for _, hour := range a.hours {
		a.encoder.Begin(epoch, now)
		for i := range items {
			if len(a.hours) > 1 && a.keys[a.rowOf[i]].key.Hour != hour {
				continue
			}
			if a.encoder.Full() {
				a.endBlock(hour, batch)
				a.encoder.Begin(epoch, now)
			}
			a.encoder.Add(&items[i], a.rowOf[i])
		}
		a.endBlock(hour, batch)
	}
	return nil
}

func (a *applyBuffer) endBlock(hour int64, batch uint64) {
	index := uint16(len(a.blocks))
	b := encodedBlock{id: catalogue.BlockID{Hour: hour, Batch: batch, Index: index}, from: len(a.bytes)}
	a.bytes = a.encoder.Append(a.bytes)
	b.header = len(a.bytes)
	a.bytes = a.encoder.Header.Append(a.bytes)
	b.end = len(a.bytes)
	a.blocks = append(a.blocks, b)
}

// write adds everything that a batch changes to a transaction.
func (a *applyBuffer) write(txn *badger.Txn, epoch uuid.UUID, paths []StateChange, mark watermark, next counters) error {
	for _, b := range a.blocks {
		if err := set(txn, blockKey(prefixBlock, b.id), a.bytes[b.from:b.header]); err != nil {
			return err
		}
		if err := set(txn, blockKey(prefixPending, b.id), a.bytes[b.header:b.end]); err != nil {
			return err
		}
	}
	if err := a.drops.write(txn); err != nil {
		return err
	}
	for _, change := range paths {
		if err := change.write(txn); err != nil {
			return err
		}
	}
	if err := set(txn, numberKey(prefixBatch, next.lastBatch), a.batchRecord()); err != nil {
		return err
	}
	if err := mark.write(txn, epoch); err != nil {
		return err
	}
	if err := next.write(txn); err != nil {
		return err
	}
	crash.Point("store.sync.before")
	return nil
}

const batchRecordVersion = 1

// batchRecord lists the blocks of a batch: version (1), n, n × (zigzag hour, index).
func (a *applyBuffer) batchRecord() []byte {
	out := binary.AppendUvarint([]byte{batchRecordVersion}, uint64(len(a.blocks)))
	for _, b := range a.blocks {
		out = binary.AppendVarint(out, b.id.Hour)
		out = binary.AppendUvarint(out, uint64(b.id.Index))
	}
	return out
}

func parseBatchRecord(batch uint64, v []byte) ([]catalogue.BlockID, error) {
	in := varint.Reader{Rest: v}
	version := in.Byte()
	n := in.Length(1 << 16)
	if version != batchRecordVersion || in.Bad {
		return nil, fmt.Errorf("%w: record of batch %d", ErrDamaged, batch)
	}
	ids := make([]catalogue.BlockID, 0, n)
	for range n {
		ids = append(ids, catalogue.BlockID{Hour: in.Varint(), Batch: batch, Index: uint16(in.Length(1<<16 - 1))})
	}
	if !in.Done() {
		return nil, fmt.Errorf("%w: record of batch %d", ErrDamaged, batch)
	}
	return ids, nil
}
