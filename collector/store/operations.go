package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// Operations stores records about the operation of wayside itself: the growth of the data directory, and scheduled jobs.
type Operations struct{ *database }

// CapacitySample is one measurement of the data directory. Samples are stored, so the growth is still known after a restart.
type CapacitySample struct {
	At     time.Time         `json:"at"`
	Bytes  map[string]int64  `json:"bytes"`  // allocated on disk, by folder
	Counts map[string]uint64 `json:"counts"` // number of events: applied, archived, …
}

func capacityKey(at time.Time) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixCapacity}, uint64(max(at.Unix(), 0)))
}

// isSample distinguishes samples from sums of long spans. It was a mistake to give both the same prefix, but the prefix is now part of
// the format. Samples sort before all sums: their times are not negative, so they have no high bit, while the number of a span has its
// sign bit flipped.
func isSample(key []byte) bool { return len(key) == 9 && key[1] < 0x80 }

// AddCapacity durably stores a sample. The sample replaces an earlier one from the same second.
func (o *Operations) AddCapacity(c CapacitySample) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode capacity sample: %w", err)
	}
	return o.updateOnce(func(txn *badger.Txn) error { return set(txn, capacityKey(c.At), text) })
}

// Capacity calls fn with every sample since the given time, oldest first.
func (o *Operations) Capacity(ctx context.Context, since time.Time, fn func(CapacitySample) error) error {
	return o.viewOnce(func(txn *badger.Txn) error {
		return each(ctx, txn, []byte{prefixCapacity}, capacityKey(since), func(key, value []byte) error {
			if !isSample(key) {
				return errStop
			}
			var c CapacitySample
			if err := json.Unmarshal(value, &c); err != nil {
				return fmt.Errorf("%w: capacity sample %x: %w", ErrDamaged, key, err)
			}
			return fn(c)
		})
	})
}

// PruneCapacity deletes samples older than the given time and returns their number.
func (o *Operations) PruneCapacity(before time.Time) (int, error) {
	if err := o.enter(); err != nil {
		return 0, err
	}
	defer o.leave()
	var old [][]byte
	end := string(capacityKey(before))
	err := o.view(func(txn *badger.Txn) error {
		return each(context.Background(), txn, []byte{prefixCapacity}, nil, func(key, _ []byte) error {
			if string(key) >= end || !isSample(key) {
				return errStop
			}
			old = append(old, append([]byte(nil), key...))
			return nil
		})
	})
	if err == nil {
		err = o.deleteKeys(context.Background(), old)
	}
	if err != nil {
		return 0, err
	}
	return len(old), nil
}

func jobKey(name string) []byte { return append([]byte{prefixJob}, name...) }

// Job returns the stored state of a scheduled job, or the zero state if there is none.
func (o *Operations) Job(name string) (state catalogue.JobState, err error) {
	err = o.viewOnce(func(txn *badger.Txn) error {
		_, err := get(txn, jobKey(name), func(v []byte) error {
			if err := json.Unmarshal(v, &state); err != nil {
				return fmt.Errorf("%w: state of job %s: %w", ErrDamaged, name, err)
			}
			return nil
		})
		return err
	})
	return state, err
}

// SetJob durably stores the state of a scheduled job.
func (o *Operations) SetJob(name string, state catalogue.JobState) error {
	text, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode state of job %s: %w", name, err)
	}
	return o.updateOnce(func(txn *badger.Txn) error { return set(txn, jobKey(name), text) })
}
