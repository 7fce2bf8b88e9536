package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// What drop records tell is kept by hour and epoch, so that hourly totals say how much is missing from them also when the
// records have left for the archive. A response that was dropped belongs to no path: these figures stand beside the rows and are
// in none of their counts.

// dropsKey names what the drop records of an epoch in an hour have told.
type dropsKey struct {
	hour  int64
	epoch uuid.UUID
}

// toldDrops are drop records, the latest of each kind.
type toldDrops map[dropsKey]stats.Drops

// note adds an event if it is a drop record. Its slices are not kept.
func (d toldDrops) note(epoch uuid.UUID, seq uint64, e *event.Event) {
	if e.IsResponse() {
		return
	}
	d.merge(dropsKey{stats.HourOfMicros(e.TimeMicros), epoch}, stats.Drops{string(e.ErrorType): {Seq: seq, Responses: e.RequestBytes}})
}

func (d toldDrops) merge(key dropsKey, told stats.Drops) {
	if d[key] == nil {
		d[key] = stats.Drops{}
	}
	d[key].Merge(told)
}

func (k dropsKey) bytes() []byte {
	return append(appendHourKey(nil, prefixDrops, k.hour), k.epoch[:]...)
}

func parseDropsKey(key []byte) (dropsKey, error) {
	if len(key) != 1+8+16 {
		return dropsKey{}, errKey
	}
	return dropsKey{decodeHour(binary.BigEndian.Uint64(key[1:])), uuid.UUID(key[9:])}, nil
}

// appendDrops writes CRC32C of the rest (4) and what was told.
func appendDrops(told stats.Drops) []byte {
	value, _ := told.AppendBinary(make([]byte, 4)) // its error is always nil
	binary.LittleEndian.PutUint32(value, crc32.Checksum(value[4:], castagnoli))
	return value
}

func openDrops(value []byte) (stats.Drops, error) {
	if len(value) < 4 || crc32.Checksum(value[4:], castagnoli) != binary.LittleEndian.Uint32(value) {
		return nil, fmt.Errorf("%w: drops of %d bytes", ErrDamaged, len(value))
	}
	told, err := stats.DecodeDrops(value[4:])
	if errors.Is(err, stats.ErrVersion) {
		return nil, fmt.Errorf("%w: %w", ErrSchema, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return told, nil
}

// write adds the records to what is stored. Stored figures that are damaged make place for what is known now: the next record of
// the epoch says all that they said.
func (d toldDrops) write(txn *badger.Txn) error {
	for key, told := range d {
		_, err := get(txn, key.bytes(), func(value []byte) error {
			known, err := openDrops(value)
			if err == nil {
				known.Merge(told)
				told = known
			}
			return err
		})
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
		if err := set(txn, key.bytes(), appendDrops(told)); err != nil {
			return err
		}
	}
	return nil
}

// Drops calls fn with the responses that were not recorded in the hours from fromHour up to but not including toHour, by
// reason, in no particular order and several times for an hour. The hour is that in which it was told: what is dropped while
// nothing can be written is told when there is room again. An error of fn ends the walk and is returned.
func (s *Store) Drops(ctx context.Context, fromHour, toHour int64, fn func(hour int64, reason string, responses uint64)) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	epochs := map[uuid.UUID]map[int64]stats.Drops{}
	err := s.view(func(txn *badger.Txn) error {
		// From the beginning: an epoch's figures count from where it began.
		return each(txn, []byte{prefixDrops}, nil, func(key, value []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			k, err := parseDropsKey(key)
			if err != nil || k.hour >= toHour && epochs[k.epoch] == nil {
				return nil //nolint:nilerr // Verify reports it
			}
			told, err := openDrops(value)
			if err != nil {
				s.o.Logger.Error("store: skipped damaged figures of what was dropped", "hour", k.hour, "epoch", k.epoch, "error", err)
				return nil
			}
			if epochs[k.epoch] == nil {
				epochs[k.epoch] = map[int64]stats.Drops{}
			}
			epochs[k.epoch][k.hour] = told
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

// indexDrops notes the drop records of all events held. Stores of before schema 3 have them in blocks only.
func (s *Store) indexDrops() error {
	decoder, err := newBlockDecoder()
	if err != nil {
		return err
	}
	defer decoder.close()
	drops := toldDrops{}
	err = s.view(func(txn *badger.Txn) error {
		return each(txn, []byte{prefixBlock}, nil, func(key, value []byte) error {
			id, err := parseBlockKey(key)
			if err == nil {
				err = drops.noteBlock(decoder, id, value)
			}
			if err != nil { // whoever reads it for its events reports it
				s.o.Logger.Warn("store: a block was not searched for drop records", "error", err)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	return s.setDrops(context.Background(), drops)
}

func (d toldDrops) noteBlock(decoder *blockDecoder, id catalogue.BlockID, value []byte) error {
	var meta blockMeta
	if len(value) > blockHeadBytes && meta.read(&reader{rest: value[blockHeadBytes:]}) && meta.records == meta.responses {
		return nil
	}
	if err := decoder.open(id, value); err != nil {
		return err
	}
	return decoder.each(id, func(seq uint64, _ uint32, e *event.Event) error {
		d.note(decoder.meta.epoch, seq, e)
		return nil
	})
}

// dropsChunk is the largest number of hours in one transaction of setDrops.
const dropsChunk = 1000

// setDrops adds drop records to those that are stored.
func (s *Store) setDrops(ctx context.Context, drops toldDrops) error {
	keys := slices.Collect(maps.Keys(drops))
	return s.inParts(ctx, len(keys), dropsChunk, func(txn *badger.Txn, from, to int) error {
		part := toldDrops{}
		for _, key := range keys[from:to] {
			part[key] = drops[key]
		}
		return part.write(txn)
	})
}
