package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// CapacitySample is one measurement of the data directory, kept so that growth is known across restarts.
type CapacitySample struct {
	At     time.Time         `json:"at"`
	Bytes  map[string]int64  `json:"bytes"`  // allocated on disk, by part
	Counts map[string]uint64 `json:"counts"` // events, by part
}

func capacityKey(at time.Time) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixCapacity}, uint64(max(at.Unix(), 0))) //nolint:gosec // not negative
}

// AddCapacity stores a sample, synced. A second one in the same second replaces the first.
func (s *Store) AddCapacity(c CapacitySample) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode capacity sample: %w", err)
	}
	return s.update(func(txn *badger.Txn) error { return set(txn, capacityKey(c.At), text) })
}

// Sums of 32 days have the same prefix as samples (part of the format, and a mistake). They lie behind every sample: times are
// not negative and have no high bit, while the number of a span has its sign flipped.
var errLongRows = errors.New("behind the samples")

func isSample(key []byte) bool { return len(key) == 9 && key[1] < 0x80 }

// Capacity calls fn with every sample since a moment, the oldest first.
func (s *Store) Capacity(ctx context.Context, since time.Time, fn func(CapacitySample) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	err := s.view(func(txn *badger.Txn) error {
		return each(txn, []byte{prefixCapacity}, capacityKey(since), func(key, value []byte) error {
			if !isSample(key) {
				return errLongRows
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			var c CapacitySample
			if err := json.Unmarshal(value, &c); err != nil {
				return fmt.Errorf("%w: capacity sample %x: %w", ErrDamaged, key, err)
			}
			return fn(c)
		})
	})
	if errors.Is(err, errLongRows) {
		return nil
	}
	return err
}

// PruneCapacity removes samples older than a moment and returns how many.
func (s *Store) PruneCapacity(before time.Time) (int, error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	var old [][]byte
	end := string(capacityKey(before))
	err := s.view(func(txn *badger.Txn) error {
		return eachKey(txn, []byte{prefixCapacity}, func(key []byte) bool {
			if string(key) >= end || !isSample(key) {
				return false
			}
			old = append(old, append([]byte(nil), key...))
			return true
		})
	})
	if err == nil {
		err = s.deleteKeys(context.Background(), old)
	}
	if err != nil {
		return 0, err
	}
	return len(old), nil
}
