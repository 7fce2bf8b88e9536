package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// Two kinds of keys record for which times the minutes are complete: a single key holds the first minute, and each incomplete hour after
// that minute has its own key.

var minutesFromKey = []byte{prefixMinutesKept}

func incompleteKey(hour int64) []byte { return appendHourKey(nil, prefixMinutesKept, hour) }

// load reads for which times the minutes are complete.
func (m *minutes) load(txn *badger.Txn) error {
	return each(context.Background(), txn, minutesFromKey, nil, func(key, value []byte) error {
		switch {
		case len(key) == 1 && len(value) == 8:
			m.from, m.begun = decodeHour(binary.LittleEndian.Uint64(value)), true
		case len(key) == 1+8:
			m.incomplete[keyHour(key)] = true
		default:
			return fmt.Errorf("%w: beginning of the minutes", ErrDamaged)
		}
		return nil
	})
}

func setMinutesFrom(txn *badger.Txn, minute int64) error {
	return set(txn, minutesFromKey, binary.LittleEndian.AppendUint64(nil, orderedHour(minute)))
}

// beginMinutes makes the store count minutes, starting with the given one. No event of that minute or a later one has been applied yet.
// It is called while the store is being opened.
func (s *Statistics) beginMinutes(minute int64) error {
	if err := s.update(func(txn *badger.Txn) error { return setMinutesFrom(txn, minute) }); err != nil {
		return err
	}
	s.minutes.from, s.minutes.begun = minute, true
	return nil
}

// oldestMinute returns the first minute that is kept while the given hour is the current one.
func oldestMinute(hour int64) int64 { return (hour - MinuteHours) * stats.HourMinutes }

// MinutesKnown reports whether the rows of the minutes [from, to) are complete.
func (s *Statistics) MinutesKnown(from, to int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from < s.minutes.from {
		return false
	}
	for hour := range s.minutes.incomplete {
		if hour >= stats.HourOfMinute(from) && hour <= stats.HourOfMinute(to-1) {
			return false
		}
	}
	return true
}

// lacking returns those hours of the rows for which no minutes are given, although the store keeps minutes for these hours.
func (m *minutes) lacking(keys []stats.Key, of [][]minuteRow) (hours map[int64]bool) {
	for i := range keys {
		hour := keys[i].Hour
		if (of == nil || of[i] == nil) && (hour+1)*stats.HourMinutes > m.from && !m.incomplete[hour] {
			if hours == nil {
				hours = map[int64]bool{}
			}
			hours[hour] = true
		}
	}
	return hours
}

// pruneMinutes deletes minutes that are too old. Before that, it moves the first kept minute forward, so the old minutes are no longer
// read or written.
func (s *Statistics) pruneMinutes(ctx context.Context) error {
	from, next, err := s.moveMinutes(ctx)
	if err != nil || from == next && s.minutesPruned {
		return err
	}
	oldest := int64(math.MinInt64)
	if s.minutesPruned && next > from {
		oldest = bucketOf(from)
	}
	s.minutesPruned = false
	crash.Point("store.minutes.prune")
	if err := s.deleteSpans(ctx, prefixMinute, oldest, bucketOf(next)); err != nil {
		return err
	}
	if err := s.deleteSpans(ctx, prefixMinutesKept, math.MinInt64, stats.HourOfMinute(next)); err != nil {
		return err
	}
	s.minutesPruned = true
	s.mu.Lock()
	defer s.mu.Unlock()
	for hour := range s.minutes.incomplete {
		if hour < stats.HourOfMinute(next) {
			delete(s.minutes.incomplete, hour)
		}
	}
	return nil
}

// moveMinutes updates the first minute that is kept. If the clock was set back, the new first minute is the one after the current minute,
// and hours between the new and the old first minute that have rows become incomplete.
func (s *Statistics) moveMinutes(ctx context.Context) (from, next int64, err error) {
	s.rowsMu.Lock()
	defer s.rowsMu.Unlock()
	s.mu.Lock()
	from = s.minutes.from
	s.mu.Unlock()
	now := s.o.Now()
	next = min(max(from, oldestMinute(stats.HourOf(now))), stats.MinuteOf(now)+1)
	if next == from {
		return from, next, nil
	}
	var again []int64
	if next < from {
		if again, err = s.hoursWithRows(ctx, stats.HourOfMinute(next), stats.HourOfMinute(from-1)); err != nil {
			return from, next, err
		}
	}
	err = s.updateInChunks(ctx, len(again), rowsChunk, func(txn *badger.Txn, i, end int) (err error) {
		for ; i < end; i++ {
			err = errors.Join(err, set(txn, incompleteKey(again[i]), nil))
		}
		return err
	})
	if err == nil {
		err = s.update(func(txn *badger.Txn) error { return setMinutesFrom(txn, next) })
	}
	if err != nil {
		return from, next, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.minutes.from = next
	for _, hour := range again {
		s.minutes.incomplete[hour] = true
	}
	return from, next, nil
}

// keptMinutes returns the minutes of the object's rows [from, to), without the minutes that the store does not keep. The result is nil
// for a row whose minutes are unknown.
func (s *Statistics) keptMinutes(r *Refill, from, to int) (out [][]minuteRow, err error) {
	if r.Minutes == nil {
		return nil, nil
	}
	s.mu.Lock()
	first := s.minutes.from
	s.mu.Unlock()
	for _, minutes := range r.Minutes[from:to] {
		rows := map[int64]*stats.Row{}
		for _, m := range minutes {
			if m.Minute < first {
				continue
			}
			if rows[m.Minute] == nil {
				rows[m.Minute] = new(stats.Row)
			}
			if err := rows[m.Minute].AddEncoded(m.Row); err != nil {
				return nil, wrapDecode(err)
			}
		}
		var kept []minuteRow
		if minutes != nil {
			kept = inOrder(rows)
		}
		out = append(out, kept)
	}
	return out, nil
}

// inOrder returns minutes in ascending order.
func inOrder(rows map[int64]*stats.Row) []minuteRow {
	out := make([]minuteRow, 0, len(rows))
	for minute, row := range rows {
		buffered := new(stats.BufferedRow)
		buffered.Merge(row)
		out = append(out, minuteRow{minute, buffered})
	}
	slices.SortFunc(out, func(a, b minuteRow) int { return cmp.Compare(a.minute, b.minute) })
	return out
}

// MinutesFrom returns the first minute, counted since 1970, that is kept.
func (s *Statistics) MinutesFrom() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.minutes.from
}

// hoursWithRows returns those hours between first and last that have rows. The caller holds rowsMu.
func (s *Statistics) hoursWithRows(ctx context.Context, first, last int64) (hours []int64, err error) {
	s.mu.Lock()
	live := map[int64]bool{}
	for key := range s.live {
		if key.Hour >= first && key.Hour <= last {
			live[key.Hour] = true
		}
	}
	s.mu.Unlock()
	err = s.view(func(txn *badger.Txn) error {
		for at := first; at <= last; at++ {
			found := false
			err := each(ctx, txn, []byte{prefixRow}, appendHourKey(nil, prefixRow, at), func(key, _ []byte) error {
				at, found = keyHour(key), true
				return errStop
			})
			if err != nil || !found {
				return err
			}
			if at <= last {
				live[at] = true
			}
		}
		return nil
	})
	return slices.Collect(maps.Keys(live)), err
}
