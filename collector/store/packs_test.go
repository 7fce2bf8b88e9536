package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/collector/stats"
)

// named walks the rows of a label, as RowsOf finds them and as they stand.
func named(t *testing.T, s *Store, label string, from, to int64) (got, want []string) {
	t.Helper()
	into := func(out *[]string) func(stats.Key, *stats.Row) error {
		return func(k stats.Key, r *stats.Row) error {
			if k.Label == label {
				*out = append(*out, fmt.Sprintf("%v %x", k, appendRow(nil, 0, r)))
			}
			return nil
		}
	}
	if err := s.Rows(t.Context(), from, to, into(&want)); err != nil {
		t.Fatal(err)
	}
	if err := s.RowsOf(t.Context(), from, to, func(k stats.Key) bool { return k.Label == label }, into(&got)); err != nil {
		t.Fatal(err)
	}
	return got, want
}

// rolled makes a store whose first days are packed, with traffic in every hour.
func rolled(t *testing.T, days int, now *time.Time) (*Store, *traffic) {
	t.Helper()
	o := testOptions(t.TempDir())
	o.Now = func() time.Time { return *now }
	s := openStore(t, o)
	g := newTraffic(14)
	for range days * 24 {
		apply(t, s, g.batch(20))
		g.now += 3600 * 1e6
	}
	*now = time.UnixMicro(g.now)
	roll(t, s)
	return s, g
}

func roll(t *testing.T, s *Store) {
	t.Helper()
	for range idleGenerations + 1 {
		checkpoint(t, s) // rows leave memory after a few
	}
	if more, err := s.Rollup(t.Context(), time.Hour); more || err != nil {
		t.Fatalf("more to sum %v, %v", more, err)
	}
}

// A path's rows are the same from packs and from the rows: packed, after late events, packed again, after a restart, and when
// the packs are too old to be kept.
func TestPacksAgreeWithRows(t *testing.T) {
	now := testStart
	s, g := rolled(t, 6, &now)
	random := rand.New(rand.NewPCG(5, 6))
	first := hourOfMicros(testStart.UnixMicro())
	check := func(when string, marked int) {
		t.Helper()
		if got := countKeys(t, s, prefixPack); got != marked {
			t.Fatalf("%s: %d days are packed, want %d", when, got, marked)
		}
		for _, label := range []string{"/api/search", "/health", "/none"} {
			for range 10 {
				from := first - 5 + random.Int64N(6*24)
				got, want := named(t, s, label, from, from+1+random.Int64N(6*24))
				if !slices.Equal(got, want) {
					t.Fatalf("%s: %s has %d rows, want %d; or they differ", when, label, len(got), len(want))
				}
			}
		}
		if found := problemsOf(t, s); len(found) > 0 {
			t.Fatalf("%s: %v", when, found)
		}
	}
	packed := countKeys(t, s, prefixPack)
	if packed < 3 || packed > 5 {
		t.Fatalf("%d of 6 days are packed", packed)
	}
	check("packed", packed)
	end := g.now
	g.now = testStart.Add(40 * time.Hour).UnixMicro()
	apply(t, s, g.batch(30))
	check("late events, in memory", packed)
	checkpoint(t, s)
	check("late events, written", packed-1)
	roll(t, s)
	check("packed again", packed)
	g.now, now = end, now.Add(150*24*time.Hour)
	roll(t, s)
	check("old", int(packTier.keep)) // all of them empty
	if n := countKeys(t, s, prefixPackRow); n > 0 {
		t.Errorf("%d packs are left", n)
	}
}

// Packs are read where there are some, and a damaged one is passed over.
func TestPacksAreReadAndCanBeDamaged(t *testing.T) {
	now := testStart
	s, _ := rolled(t, 4, &now)
	hour := (dayOf(testStart)+1)*dayHours + 5
	before, _ := named(t, s, "/api/search", hour, hour+1)
	key := appendRowKey(nil, &stats.Key{Hour: hour, Host: "", Method: "GET", Label: "/api/search"})
	var dbKeys [][]byte
	if err := s.view(func(txn *badger.Txn) error {
		return eachKey(txn, key[:9], func(k []byte) bool {
			if bytes.HasSuffix(k, []byte("GET/api/search")) {
				dbKeys = append(dbKeys, bytes.Clone(k))
			}
			return true
		})
	}); err != nil || len(before) == 0 || len(dbKeys) != len(before) {
		t.Fatal(before, dbKeys, err)
	}
	kept, undo := map[string][]byte{}, map[string][]byte{}
	change := func(fn func(txn *badger.Txn) error) {
		t.Helper()
		if err := s.update(fn); err != nil {
			t.Fatal(err)
		}
	}
	change(func(txn *badger.Txn) error { // behind the packs' back, to see that they are read
		for _, k := range dbKeys {
			if _, err := get(txn, k, func(v []byte) error { kept[string(k)] = bytes.Clone(v); return nil }); err != nil {
				return err
			}
			if err := txn.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
	if got, want := named(t, s, "/api/search", hour, hour+1); !slices.Equal(got, before) || len(want) > 0 {
		t.Errorf("from the pack %v, from the rows %v, want %v", got, want, before)
	}
	change(func(txn *badger.Txn) error {
		for k, v := range kept {
			if err := txn.Set([]byte(k), v); err != nil {
				return err
			}
			pack := append(appendHourKey(nil, prefixPackRow, hour/dayHours), rowName([]byte(k))...)
			var value []byte
			if _, err := get(txn, pack, func(v []byte) error { value = bytes.Clone(v); return nil }); err != nil {
				return err
			}
			undo[string(pack)] = bytes.Clone(value)
			value[len(value)-1] ^= 4
			if err := txn.Set(pack, value); err != nil {
				return err
			}
		}
		return nil
	})
	if got, _ := named(t, s, "/api/search", hour, hour+1); !slices.Equal(got, before) {
		t.Errorf("with a damaged pack %v, want %v", got, before)
	}
	if found := problemsOf(t, s); len(found["sums and packs"]) == 0 {
		t.Errorf("verify does not see the damaged pack: %v", found)
	}
	change(func(txn *badger.Txn) (err error) {
		for k, v := range undo {
			err = errors.Join(err, txn.Set([]byte(k), v))
		}
		return err
	})
}

func dayOf(at time.Time) int64 { return packTier.span(hourOfMicros(at.UnixMicro())) }

func countKeys(t *testing.T, s *Store, prefix byte) (n int) {
	t.Helper()
	err := s.view(func(txn *badger.Txn) error {
		return eachKey(txn, []byte{prefix}, func([]byte) bool { n++; return true })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
