package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// The figures of drop records are stored by hour and epoch, so each hourly total can show how many responses are missing from it, even
// after the drop records themselves have been deleted from the store. A dropped response belongs to no path, so these figures are
// separate from the rows and not included in their counts.

// dropsKey identifies the drop records of an epoch in one hour.
type dropsKey struct {
	hour  int64
	epoch uuid.UUID
}

// dropFigures are the figures of drop records. For each reason, only the latest record counts.
type dropFigures map[dropsKey]stats.Drops

// note adds an event if it is a drop record. It does not retain the event's slices.
func (d dropFigures) note(epoch uuid.UUID, seq uint64, e *event.Event) {
	if e.IsResponse() {
		return
	}
	key := dropsKey{stats.HourOfMicros(e.TimeMicros), epoch}
	if d[key] == nil {
		d[key] = stats.Drops{}
	}
	d[key].Merge(stats.Drops{string(e.ErrorType): {Seq: seq, Responses: e.RequestBytes}})
}

func (k dropsKey) bytes() []byte {
	return append(appendHourKey(nil, prefixDrops, k.hour), k.epoch[:]...)
}

func parseDropsKey(key []byte) (dropsKey, error) {
	if len(key) != 1+8+16 {
		return dropsKey{}, errKey
	}
	return dropsKey{keyHour(key), uuid.UUID(key[9:])}, nil
}

// encodeDrops encodes a stored value: CRC32C of the rest (4), figures.
func encodeDrops(figures stats.Drops) []byte {
	value, _ := figures.AppendBinary(make([]byte, checksumBytes)) // its error is always nil
	seal(value)
	return value
}

func decodeDrops(value []byte) (stats.Drops, error) {
	if !sealed(value) {
		return nil, fmt.Errorf("%w: drops of %d bytes", ErrDamaged, len(value))
	}
	figures, err := stats.DecodeDrops(value[checksumBytes:])
	return figures, wrapDecode(err)
}

// write merges the figures into the stored ones. It replaces damaged figures; the epoch's next drop record includes what was lost.
func (d dropFigures) write(txn *badger.Txn) error {
	for key, figures := range d {
		_, err := get(txn, key.bytes(), func(value []byte) error {
			known, err := decodeDrops(value)
			if err == nil {
				known.Merge(figures)
				figures = known
			}
			return err
		})
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
		if err := set(txn, key.bytes(), encodeDrops(figures)); err != nil {
			return err
		}
	}
	return nil
}

// HourlyDrops are the stored figures of drop records.
type HourlyDrops struct{ *database }

// Drops calls fn with the number of responses that were not recorded in the hours [fromHour, toHour), by reason. The calls come in no
// particular order, and several of them may be for the same hour. The hour is the one in which the drops were reported. It can be later
// than the hour of the drops, because nothing is reported while nothing can be written.
func (s *HourlyDrops) Drops(ctx context.Context, fromHour, toHour int64, fn func(hour int64, reason string, responses uint64)) error {
	epochs := map[uuid.UUID]map[int64]stats.Drops{}
	err := s.viewOnce(func(txn *badger.Txn) error {
		// The scan starts with the oldest hour, because figures count from the beginning of their epoch.
		return each(ctx, txn, []byte{prefixDrops}, nil, func(key, value []byte) error {
			k, err := parseDropsKey(key)
			if err != nil || k.hour >= toHour && epochs[k.epoch] == nil {
				return nil //nolint:nilerr // Verify reports it
			}
			figures, err := decodeDrops(value)
			if err != nil {
				s.o.Logger.Error("store: skipped a damaged count of dropped responses; the result does not include it",
					"hour", k.hour, "epoch", k.epoch, "error", err)
				return nil
			}
			if epochs[k.epoch] == nil {
				epochs[k.epoch] = map[int64]stats.Drops{}
			}
			epochs[k.epoch][k.hour] = figures
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, hours := range epochs {
		stats.Deltas(hours, func(hour int64, reason string, responses uint64) {
			if hour >= fromHour && hour < toHour {
				fn(hour, reason, responses)
			}
		})
	}
	return nil
}

// index stores the figures of all drop records in the store. Stores older than schema 3 have them only in blocks.
func (s *HourlyDrops) index() error {
	decoder := block.NewDecoder()
	defer decoder.Close()
	drops := dropFigures{}
	err := s.view(func(txn *badger.Txn) error {
		return each(context.Background(), txn, []byte{prefixBlock}, nil, func(key, value []byte) error {
			id, err := parseBlockKey(key)
			if err == nil {
				err = drops.noteBlock(decoder, id, value)
			}
			if err != nil { // the damage is reported when the block is archived
				s.o.Logger.Warn("store: cannot read a block of events; its drop records are missing from the hourly figures", "error", err)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	return s.set(context.Background(), drops)
}

func (d dropFigures) noteBlock(decoder *block.Decoder, id catalogue.BlockID, value []byte) error {
	var h block.Header
	if h.DecodeBlock(value) == nil && h.Records == h.Responses {
		return nil
	}
	if err := decoder.Open(id, value); err != nil {
		return err
	}
	return decoder.Each(func(seq uint64, _ uint32, e *event.Event) error {
		d.note(decoder.Header.Epoch, seq, e)
		return nil
	})
}

// dropsChunk is the maximum number of hours in one transaction of set.
const dropsChunk = 1000

// set merges figures into the stored ones, in several transactions.
func (s *HourlyDrops) set(ctx context.Context, drops dropFigures) error {
	keys := slices.Collect(maps.Keys(drops))
	return s.updateInChunks(ctx, len(keys), dropsChunk, func(txn *badger.Txn, from, to int) error {
		chunk := dropFigures{}
		for _, key := range keys[from:to] {
			chunk[key] = drops[key]
		}
		return chunk.write(txn)
	})
}
