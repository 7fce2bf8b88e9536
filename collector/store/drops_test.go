package store

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// dropBatch returns a batch of responses and one drop record with the number of responses dropped since the epoch
// began.
func (g *traffic) dropBatch(reason string, responses uint64) *Batch {
	b := g.batch(20)
	record := &b.Items[len(b.Items)-1]
	record.Event = event.Event{Kind: event.KindDrop, TimeMicros: record.Event.TimeMicros, ErrorType: []byte(reason), RequestBytes: responses}
	record.Record = nil
	return b
}

func dropsOf(t testing.TB, s *Store, from, to int64) map[int64]map[string]uint64 {
	t.Helper()
	out := map[int64]map[string]uint64{}
	err := s.Drops(t.Context(), from, to, func(hour int64, reason string, responses uint64) {
		if out[hour] == nil {
			out[hour] = map[string]uint64{}
		}
		out[hour][reason] += responses
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// dropTraffic applies drop records of two epochs in three hours, and returns the expected figures for the hours.
func dropTraffic(t testing.TB, s *Store) map[int64]map[string]uint64 {
	t.Helper()
	a, b := newTraffic(1), newTraffic(2)
	a.epoch, b.epoch = uuid.UUID{1}, uuid.UUID{2}
	first := stats.HourOfMicros(a.now)
	apply(t, s, a.dropBatch("full", 10))
	again := a.dropBatch("full", 25)
	apply(t, s, again)
	apply(t, s, again)
	apply(t, s, b.dropBatch("full", 3))
	a.now += time.Hour.Microseconds()
	apply(t, s, a.dropBatch("age", 7))
	b.now += 2 * time.Hour.Microseconds()
	apply(t, s, b.dropBatch("full", 103))
	return map[int64]map[string]uint64{first: {"full": 28}, first + 1: {"age": 7}, first + 2: {"full": 100}}
}

// TestHourlyDrops: the figures of drop records are counted once in their hour: after restarts, in ranges, and when the
// records are only in the archive.
func TestHourlyDrops(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	want := dropTraffic(t, s)
	compare := func(when string) {
		t.Helper()
		if diff := cmp.Diff(want, dropsOf(t, s, -1<<62, 1<<62)); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	compare("applied")
	for hour := range want {
		if diff := cmp.Diff(map[int64]map[string]uint64{hour: want[hour]}, dropsOf(t, s, hour, hour+1)); diff != "" {
			t.Errorf("alone: %s", diff)
		}
	}
	for len(blockIDs(t, s)) > 0 { // an object contains events of only one hour and epoch
		archiveAndDelete(t, s)
	}
	compare("archived")
	checkPromises(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	compare("opened again")
}

// forgetDrops deletes the hourly figures.
func forgetDrops(t testing.TB, s *Store) {
	t.Helper()
	err := s.update(func(txn *badger.Txn) error {
		var keys [][]byte
		err := each(context.Background(), txn, []byte{prefixDrops}, nil, func(key, _ []byte) error {
			keys = append(keys, append([]byte(nil), key...))
			return nil
		})
		for _, key := range keys {
			if err == nil {
				err = deleteKey(txn, key)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDropsOfOlderSchema: an older store has drop records only in its blocks.
func TestDropsOfOlderSchema(t *testing.T) {
	o := testOptions(t.TempDir())
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	want := dropTraffic(t, s)
	forgetDrops(t, s)
	older := make([]byte, 12)
	older[0] = 2
	if err := s.update(func(txn *badger.Txn) error { return set(txn, []byte{prefixSchema}, older) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if diff := cmp.Diff(want, dropsOf(t, s, -1<<62, 1<<62)); diff != "" {
		t.Error(diff)
	}
}

// TestVerifyDrops: Verify finds figures that are missing, older than the stored records, or damaged.
func TestVerifyDrops(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"missing": nil,
		"damaged": func(v []byte) []byte { v[len(v)-1]++; return v },
		"behind": func(v []byte) []byte {
			told, _ := decodeDrops(v)
			for reason, d := range told {
				d.Responses++
				told[reason] = d
			}
			return encodeDrops(told)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(testOptions(t.TempDir()))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			dropTraffic(t, s)
			if spoil == nil {
				forgetDrops(t, s)
			} else {
				err := s.update(func(txn *badger.Txn) error {
					var key, value []byte
					err := each(context.Background(), txn, []byte{prefixDrops}, nil, func(k, v []byte) error {
						key, value = append([]byte(nil), k...), append([]byte(nil), v...)
						return nil
					})
					if err != nil {
						return err
					}
					return set(txn, key, spoil(value))
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			checks, err := s.Verify(t.Context())
			if text := problemsText(checks); err != nil || !strings.Contains(text, "hourly drops") {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}
