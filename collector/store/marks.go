package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// MarkLog stores the marks, which are named points in time: deploys, and the times at which wayside itself was started, reloaded or
// stopped. A key is prefix, time in µs (8); a value is JSON. No two marks have the same time: a new mark is moved to the next free
// microsecond if its time is taken.
type MarkLog struct {
	*database

	mu     sync.Mutex
	count  int                       // number of marks; guarded by mu
	latest map[string]catalogue.Mark // the latest mark of each kind; guarded by mu
}

// MarksMax is the maximum number of marks. Each further mark replaces the oldest.
const MarksMax = 10_000

func markKey(micros int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixMark}, uint64(max(micros, 0)))
}

// load reads the marks when the store is opened.
func (m *MarkLog) load(txn *badger.Txn) error {
	return each(context.Background(), txn, []byte{prefixMark}, nil, func(_, value []byte) error {
		m.count++
		var mark catalogue.Mark
		if json.Unmarshal(value, &mark) == nil { // a query reports a damaged mark
			m.noteLatest(mark)
		}
		return nil
	})
}

// noteLatest records a mark if it is the latest one of its kind.
func (m *MarkLog) noteLatest(mark catalogue.Mark) {
	if !slices.Contains(catalogue.MarkKinds, mark.Kind) || mark.Time.Before(m.latest[mark.Kind].Time) {
		return
	}
	if m.latest == nil {
		m.latest = map[string]catalogue.Mark{}
	}
	m.latest[mark.Kind] = mark
}

// LatestMarks returns the latest mark of each kind that has one, in the order of [catalogue.MarkKinds].
func (m *MarkLog) LatestMarks() []catalogue.Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]catalogue.Mark, 0, len(m.latest))
	for _, kind := range catalogue.MarkKinds {
		if mark, ok := m.latest[kind]; ok {
			out = append(out, mark)
		}
	}
	return out
}

// add durably stores a mark. The caller must have called enter, and must not have called leave yet.
func (m *MarkLog) add(mark catalogue.Mark) (catalogue.Mark, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	micros := max(mark.Time.UnixMicro(), 0)
	removed := 0
	err := m.update(func(txn *badger.Txn) error {
		for {
			taken, err := has(txn, markKey(micros))
			if err != nil {
				return err
			}
			if !taken {
				break
			}
			micros++
		}
		mark.Time = time.UnixMicro(micros).UTC()
		text, err := json.Marshal(mark)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if err := set(txn, markKey(micros), text); err != nil {
			return err
		}
		removed, err = m.removeOldest(txn)
		return err
	})
	if err != nil {
		return mark, fmt.Errorf("store a mark: %w", err)
	}
	m.count += 1 - removed
	m.noteLatest(mark)
	return mark, nil
}

// removeOldest makes room for one more mark. The caller holds mu.
func (m *MarkLog) removeOldest(txn *badger.Txn) (removed int, err error) {
	if m.count < MarksMax {
		return 0, nil
	}
	var oldest []byte
	err = each(context.Background(), txn, []byte{prefixMark}, nil, func(key, _ []byte) error {
		oldest = append(oldest, key...)
		return errStop
	})
	if err != nil || oldest == nil {
		return 0, err
	}
	return 1, deleteKey(txn, oldest)
}

// MarksBetween calls fn with every mark in [from, to), oldest first.
func (m *MarkLog) MarksBetween(ctx context.Context, from, to time.Time, fn func(catalogue.Mark) error) error {
	end := string(markKey(to.UnixMicro()))
	return m.viewOnce(func(txn *badger.Txn) error {
		return each(ctx, txn, []byte{prefixMark}, markKey(from.UnixMicro()), func(key, value []byte) error {
			if string(key) >= end {
				return errStop
			}
			var mark catalogue.Mark
			if err := json.Unmarshal(value, &mark); err != nil {
				return fmt.Errorf("%w: mark %x: %w", ErrDamaged, key, err)
			}
			return fn(mark)
		})
	})
}
