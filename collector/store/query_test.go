package store

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// slowSums adds up rows one by one. Sums must give the same result from its spans.
func slowSums(t *testing.T, s *Store, from, to int64) map[stats.Key][]byte {
	t.Helper()
	rows := map[stats.Key]*stats.Row{}
	err := s.Rows(t.Context(), from, to, func(k stats.Key, r *stats.Row) error {
		k.Hour = 0
		if rows[k] == nil {
			rows[k] = new(stats.Row)
		}
		rows[k].Merge(r)
		return nil
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

// TestSumsAgreeWithRows compares sums with rows: before and after spans are summed, after late events, after a restart.
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
	start := stats.HourOfMicros(g.now)
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
			checkpoint(t, s) // rows are evicted after a few checkpoints
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
	checkCapacity(t, s)                                    // the keys of samples have the prefix of long spans
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

func checkCapacity(t *testing.T, s *Store) {
	t.Helper()
	at := s.o.Now()
	if err := s.AddCapacity(CapacitySample{At: at, Bytes: map[string]int64{"store": 1}}); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := s.Capacity(t.Context(), at.Add(-time.Hour), func(CapacitySample) error { n++; return nil })
	if err != nil || n != 1 {
		t.Fatalf("%d samples, %v", n, err)
	}
	if n, err := s.PruneCapacity(at.Add(time.Hour)); err != nil || n != 1 {
		t.Fatalf("%d samples removed, %v", n, err)
	}
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
	start := stats.HourOfMicros(g.now)
	const hours = 128
	for range hours {
		apply(t, s, g.batch(30))
		g.now += 3600 * 1e6
	}
	for range idleGenerations + 1 {
		checkpoint(t, s) // rows are evicted
	}
	apply(t, s, g.batch(300))
	for _, label := range []string{"/api/search", "/api/users/{id}", "/nowhere"} {
		keep := func(k stats.Key) bool { return k.Label == label && k.Hour == 0 }
		type found struct {
			key stats.Key
			row string
		}
		var want, got []found
		collect := func(list *[]found) func(stats.Key, *stats.Row) error {
			return func(k stats.Key, r *stats.Row) error {
				if k.Label == label && r.Count > 0 {
					encoded, _ := r.AppendBinary(nil)
					*list = append(*list, found{k, string(encoded)})
				}
				return nil
			}
		}
		if err := s.Rows(t.Context(), start+2, start+2*hours, collect(&want)); err != nil {
			t.Fatal(err)
		}
		if err := s.RowsOf(t.Context(), start+2, start+2*hours, keep, collect(&got)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(want, got) {
			t.Errorf("%s: %d rows, want %d", label, len(got), len(want))
		}
		if label == "/api/search" && len(want) < hours/2 {
			t.Errorf("%s: only %d rows", label, len(want))
		}
	}
}

// TestSumsOfQuarterDays: quarter days are summed while they are recent, their sums are used until one of their rows is
// written, and old sums are deleted.
func TestSumsOfQuarterDays(t *testing.T) {
	o := testOptions(t.TempDir())
	g := newTraffic(13)
	now := time.UnixMicro(g.now)
	o.Now = func() time.Time { return now }
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	random := rand.New(rand.NewPCG(3, 4))
	start := stats.HourOfMicros(g.now)
	for range 5 * 24 {
		apply(t, s, g.batch(20))
		g.now += 3600 * 1e6
	}
	end := g.now
	now = time.UnixMicro(end)
	sum := func(quarters int) {
		t.Helper()
		for range idleGenerations + 1 {
			checkpoint(t, s)
		}
		if more, err := s.Rollup(t.Context(), time.Hour); more || err != nil {
			t.Fatalf("more to sum %v, %v", more, err)
		}
		if got := len(s.summed[quarterTier.mark]); got != quarters {
			t.Fatalf("%d quarter days are summed, want %d", got, quarters)
		}
		for range 30 {
			from := start - 2 + random.Int64N(5*24)
			checkSums(t, s, from, from+1+random.Int64N(30))
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	sum(int(quarterTier.keep))
	g.now = end - 20*3600*1e6 // late events
	apply(t, s, g.batch(20))
	for range 30 {
		from := start + 4*24 + random.Int64N(20)
		checkSums(t, s, from, from+1+random.Int64N(30))
	}
	sum(int(quarterTier.keep))
	now = now.Add(30 * 24 * time.Hour)
	sum(int(quarterTier.keep)) // empty quarter days
	rows := 0
	err = s.view(func(txn *badger.Txn) error {
		return each(context.Background(), txn, []byte{prefixQuarterRow}, nil, func(_, _ []byte) error { rows++; return nil })
	})
	if err != nil || rows > 0 {
		t.Errorf("%d sums are left, %v", rows, err)
	}
}

// TestRowsOfAnHourInMemory: the rows of a single hour are complete, wherever they are: all live, some evicted, some
// stored by an import, and in hours without rows of a name that has rows before and after.
func TestRowsOfAnHourInMemory(t *testing.T) {
	s, err := Open(testOptions(t.TempDir())) // openStore is not used, because the imported row has no events
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	hour := stats.HourOfMicros(testStart.UnixMicro())
	check := func(when string, inMemory bool) {
		t.Helper()
		if _, complete := s.liveRange(hour, hour+1); complete != inMemory {
			t.Errorf("%s: in memory: %v, want %v", when, complete, inMemory)
		}
		checkHours(t, s, allRows(t, s))
		if rows := rowsIn(t, s, hour+1, hour+2); len(rows) != 0 {
			t.Errorf("%s: an hour without responses has %d rows", when, len(rows))
		}
	}
	g := newTraffic(8)
	apply(t, s, g.batch(500))
	check("new", true)
	checkpoint(t, s)
	check("stored", true)
	for range idleGenerations {
		checkpoint(t, s)
	}
	check("evicted", false)
	apply(t, s, g.batch(1))
	check("one live again", false)
	apply(t, s, g.batch(2000))
	check("all live again", true)
	g.now += 2 * time.Hour.Microseconds()
	apply(t, s, g.batch(2000))
	check("two hours later", true)
	row := new(stats.Row)
	row.Add(&event.Event{Kind: event.KindRequest, Status: 200})
	if err := s.importRows(t.Context(), []stats.Key{{Hour: hour, Host: "a", Method: "GET", Label: "/imported"}}, []*stats.Row{row}); err != nil {
		t.Fatal(err)
	}
	check("a row beside memory", false)
}
