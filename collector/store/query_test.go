package store

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/collector/stats"
)

// slowSums adds up rows one by one, as Sums is to do from its spans.
func slowSums(t *testing.T, s *Store, from, to int64) map[stats.Key][]byte {
	t.Helper()
	rows := map[stats.Key]*stats.Row{}
	err := s.Rows(t.Context(), from, to, func(k stats.Key, r *stats.Row) error {
		k.Hour = 0
		if rows[k] == nil {
			rows[k] = new(stats.Row)
		}
		return rows[k].Merge(r)
	})
	if err != nil {
		t.Fatal(err)
	}
	return encodeAll(t, rows)
}

func encodeAll(t *testing.T, rows map[stats.Key]*stats.Row) map[stats.Key][]byte {
	t.Helper()
	out := map[stats.Key][]byte{}
	for k, r := range rows {
		b, err := r.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		out[k] = b
	}
	return out
}

func checkSums(t *testing.T, s *Store, from, to int64) {
	t.Helper()
	rows := map[stats.Key]*stats.Row{}
	err := s.Sums(t.Context(), from, to, func(k stats.Key, r *stats.Row) error {
		k.Hour = 0
		if rows[k] != nil {
			t.Errorf("%v is given twice", k)
		}
		rows[k] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want, got := slowSums(t, s, from, to), encodeAll(t, rows)
	if len(want) != len(got) {
		t.Errorf("[%d,%d): %d names, want %d", from, to, len(got), len(want))
	}
	for k, b := range want {
		if !bytes.Equal(got[k], b) {
			t.Errorf("[%d,%d): %v: the sum is not that of the rows", from, to, k)
		}
	}
}

// Sums agree with the rows at any time: before spans are summed, after, after late events, after a restart.
func TestSumsAgreeWithRows(t *testing.T) {
	o := testOptions(t.TempDir())
	now := testStart.Add(100 * 24 * time.Hour)
	o.Now = func() time.Time { return now }
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	random := rand.New(rand.NewPCG(1, 2))
	g := newTraffic(11)
	start := hourOfMicros(g.now)
	for range 90 * 4 {
		apply(t, s, g.batch(20))
		g.now += 6 * 3600 * 1e6
	}
	check := func(when string) {
		t.Helper()
		for range 20 {
			from := start - 50 + random.Int64N(90*24)
			checkSums(t, s, from, from+1+random.Int64N(80*24))
		}
		checkSums(t, s, start-10_000, start+10_000)
		if t.Failed() {
			t.Fatal(when)
		}
	}
	roll := func() {
		t.Helper()
		for range 4 {
			checkpoint(t, s) // rows leave memory after a few
		}
		if more, err := s.Rollup(t.Context(), time.Hour); more || err != nil {
			t.Fatalf("more to sum %v, %v", more, err)
		}
	}
	check("before")
	roll()
	if n := len(s.summed[dayTier.mark]); n < 80 {
		t.Fatalf("%d days are summed", n)
	}
	if n := len(s.summed[longTier.mark]); n < 1 {
		t.Fatalf("%d long spans are summed", n)
	}
	check("summed")
	g.now = testStart.Add(40 * 24 * time.Hour).UnixMicro() // late events
	apply(t, s, g.batch(50))
	check("late, in memory")
	checkpoint(t, s)
	check("late, written")
	if s, err = reopen(s, o); err != nil {
		t.Fatal(err)
	}
	check("reopened")
	roll()
	check("summed again")
}

func reopen(s *Store, o Options) (*Store, error) {
	if err := s.Close(); err != nil {
		return s, err
	}
	return Open(o)
}

func TestRowsOfAgreesWithRows(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	g := newTraffic(12)
	start := hourOfMicros(g.now)
	for range 30 {
		apply(t, s, g.batch(300))
		g.now += 3600 * 1e6
	}
	checkpoint(t, s)
	apply(t, s, g.batch(300))
	for _, label := range []string{"/api/search", "/api/users/{id}", "/nowhere"} {
		keep := func(k stats.Key) bool { return k.Label == label && k.Hour == 0 }
		var want, got []stats.Key
		collect := func(list *[]stats.Key) func(stats.Key, *stats.Row) error {
			return func(k stats.Key, r *stats.Row) error {
				if k.Label == label && r.Count > 0 {
					*list = append(*list, k)
				}
				return nil
			}
		}
		if err := s.Rows(t.Context(), start+2, start+31, collect(&want)); err != nil {
			t.Fatal(err)
		}
		if err := s.RowsOf(t.Context(), start+2, start+31, keep, collect(&got)); err != nil {
			t.Fatal(err)
		}
		if len(want) != len(got) || len(want) > 0 && (want[0] != got[0] || want[len(want)-1] != got[len(got)-1]) {
			t.Errorf("%s: %d rows, want %d", label, len(got), len(want))
		}
	}
}
