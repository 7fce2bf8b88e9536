package store

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// minuteKey names the row of a minute. Its Hour is the minute.
type minuteKey = stats.Key

// minutesIn returns the encoded rows of the minutes [from, to) whose names keep selects.
func minutesIn(t testing.TB, s *Store, from, to int64, keep func(stats.Key) bool) map[minuteKey]string {
	t.Helper()
	rows := map[minuteKey]*stats.Row{}
	err := s.AddMinutes(context.Background(), from, to, func(k stats.Key) func(int64) *stats.Row {
		if !keep(k) {
			return nil
		}
		return func(minute int64) *stats.Row {
			k := k
			if k.Hour = minute; rows[k] == nil {
				rows[k] = new(stats.Row)
			}
			return rows[k]
		}
	})
	if err != nil {
		t.Error(err)
	}
	return encodedRows(rows)
}

func encodedRows(rows map[minuteKey]*stats.Row) map[minuteKey]string {
	out := map[minuteKey]string{}
	for k, row := range rows {
		text, _ := row.AppendBinary(nil)
		out[k] = string(text)
	}
	return out
}

// recountMinutes folds events into minutes.
func recountMinutes(batches []*Batch, from, to int64, keep func(stats.Key) bool) map[minuteKey]string {
	rows := map[minuteKey]*stats.Row{}
	for _, b := range batches {
		for i := range b.Items {
			it := &b.Items[i]
			k := stats.Key{Host: it.Host, Method: it.Method, Label: it.Label, Route: it.Route}
			minute := stats.MinuteOfMicros(it.Event.TimeMicros)
			if !it.Event.IsResponse() || minute < from || minute >= to || !keep(k) {
				continue
			}
			if k.Hour = minute; rows[k] == nil {
				rows[k] = new(stats.Row)
			}
			rows[k].Add(&it.Event)
		}
	}
	return encodedRows(rows)
}

func anyName(stats.Key) bool { return true }

// TestMinutesEqualTheirEvents compares the minutes of many ranges with a fold of their events: in memory, partly
// stored, stored, and after a restart. Some events arrive late, for minutes that have already been stored.
func TestMinutesEqualTheirEvents(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	g := newTraffic(7)
	g.step = 400_000
	begin := stats.MinuteOfMicros(g.now)
	var all []*Batch
	put := func(b *Batch) {
		apply(t, s, b)
		all = append(all, b)
	}
	compare := func(when string) {
		t.Helper()
		end := stats.MinuteOfMicros(g.now) + 1
		home := func(k stats.Key) bool { return k.Label == "/" }
		for _, r := range [][2]int64{{begin, end}, {begin + 3, begin + 4}, {begin + 7, begin + 52}, {begin + 40, begin + 41}, {end, end + 5}, {begin, begin}} {
			if diff := cmp.Diff(recountMinutes(all, r[0], r[1], anyName), minutesIn(t, s, r[0], r[1], anyName)); diff != "" {
				t.Errorf("%s, minutes %d to %d: %s", when, r[0]-begin, r[1]-begin, diff)
			}
			if diff := cmp.Diff(recountMinutes(all, r[0], r[1], home), minutesIn(t, s, r[0], r[1], home)); diff != "" {
				t.Errorf("%s, minutes %d to %d of one path: %s", when, r[0]-begin, r[1]-begin, diff)
			}
		}
	}
	for range 12 {
		put(g.batch(700))
		if len(all)%3 == 0 {
			checkpoint(t, s)
		}
	}
	compare("partly stored")
	late := newTraffic(8)
	late.epoch, late.step = uuid.New(), 300_000
	put(late.batch(2000))
	compare("late events")
	checkpoint(t, s)
	compare("stored")
	put(late.batch(100))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	compare("after a restart")
}

// TestMinutesAreBounded: the minutes in memory are stored when there are too many, and their memory is reused.
func TestMinutesAreBounded(t *testing.T) {
	o := testOptions(t.TempDir())
	o.LiveRowsMax = 64
	s := openStore(t, o)
	g := newTraffic(9)
	g.step = 20_000_000
	for range 30 {
		apply(t, s, g.batch(100))
		s.Statistics.mu.Lock()
		open, spare := s.minutes.open, len(s.minutes.spare)
		s.Statistics.mu.Unlock()
		if open > o.LiveRowsMax || spare > spareRowsMax {
			t.Fatalf("%d minutes are in memory, and %d empty rows", open, spare)
		}
	}
}

// TestMinutesArePruned: minutes are deleted after two days, and the hours stay.
func TestMinutesArePruned(t *testing.T) {
	o := testOptions(t.TempDir())
	now := testStart
	o.Now = func() time.Time { return now }
	s := openStore(t, o)
	g := newTraffic(3)
	g.step = 3_000_000
	apply(t, s, g.batch(5000))
	checkpoint(t, s)
	first, hour := stats.MinuteOf(testStart), stats.HourOf(testStart)
	rollup := func() {
		t.Helper()
		if _, err := s.Rollup(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	rollup()
	if !s.MinutesKnown(first, first+60) || len(minutesIn(t, s, first, first+60, anyName)) == 0 {
		t.Error("the minutes of the current hour are not known")
	}
	before := allRows(t, s)
	now = testStart.Add(50 * time.Hour)
	apply(t, s, g.batch(10)) // these are in hours whose minutes will be pruned below
	rollup()
	oldest := oldestMinute(hour + 50)
	if s.MinutesKnown(oldest-1, oldest+5) || !s.MinutesKnown(oldest, oldest+5) {
		t.Error("minutes are known for another time than the last two days")
	}
	if left := minutesIn(t, s, first, oldest, anyName); len(left) > 0 {
		t.Errorf("%d rows of old minutes are left", len(left))
	}
	checkpoint(t, s)
	stored := 0
	if err := s.view(func(txn *badger.Txn) error {
		return each(t.Context(), txn, []byte{prefixMinute}, nil, func(key, _ []byte) error {
			if keyHour(key) < bucketOf(oldest) {
				stored++
			}
			return nil
		})
	}); err != nil || stored > 0 {
		t.Errorf("%d values of old minutes are stored, %v", stored, err)
	}
	if after := allRows(t, s); len(after) < len(before) {
		t.Errorf("%d rows of hours, %d before", len(after), len(before))
	}

	now = testStart.Add(-time.Hour) // the clock was wrong and has been corrected
	rollup()
	next := stats.MinuteOf(now) + 1
	if s.MinutesKnown(next-1, next+1) || !s.MinutesKnown(next, next+1) || s.MinutesKnown(first, first+1) {
		t.Error("minutes do not begin again when the clock was set back, or do so in an hour whose minutes were removed")
	}
}

// TestMinutesOfAnOlderStore: in a store without minutes, minutes begin with the next one.
func TestMinutesOfAnOlderStore(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	apply(t, s, newTraffic(4).batch(500))
	checkpoint(t, s)
	if err := errors.Join(s.deleteSpans(t.Context(), prefixMinute, -1<<62, 1<<62), s.update(func(txn *badger.Txn) error {
		schema := binary.LittleEndian.AppendUint64([]byte{5, 0, 0, 0}, uint64(testStart.UnixMicro()))
		return errors.Join(deleteKey(txn, minutesFromKey), set(txn, []byte{prefixSchema}, schema))
	})); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	next := stats.MinuteOf(testStart) + 1
	if s.MinutesKnown(next-1, next+1) || !s.MinutesKnown(next, next+1) {
		t.Error("minutes are known for another time than from the next minute on")
	}
	g := newTraffic(5)
	g.epoch, g.now = uuid.New(), stats.MinuteStart(next).UnixMicro()
	b := g.batch(300)
	apply(t, s, b)
	if diff := cmp.Diff(recountMinutes([]*Batch{b}, next, next+60, anyName), minutesIn(t, s, next, next+60, anyName)); diff != "" {
		t.Error(diff)
	}
}

// TestRefilledMinutes refills an hour from objects with and without minutes.
func TestRefilledMinutes(t *testing.T) {
	for _, with := range []bool{true, false} {
		o := testOptions(t.TempDir())
		lost := manyRows(uuid.UUID{1}, 700)
		loseStore(t, o, lost)
		s := openStore(t, o)
		own := newTraffic(2)
		own.epoch = uuid.New()
		b := own.batch(200)
		apply(t, s, b)
		object := objectOf(lost)
		first := stats.MinuteOf(testStart)
		if with {
			for i := range object.Rows {
				text, _ := object.Rows[i].AppendBinary(nil)
				object.Minutes = append(object.Minutes, []stats.EncodedMinute{{Minute: first, Row: text}}) // all of its events are in the same minute
			}
		}
		if err := errors.Join(knownID(t.Context(), s, object), s.Refill(t.Context(), object)); err != nil {
			t.Fatal(err)
		}
		known := s.MinutesKnown(first, first+2)
		if known != with || s.MinutesKnown(first+60, first+61) != true {
			t.Errorf("minutes known: %v, want %v", known, with)
		}
		want := recountMinutes([]*Batch{b}, first, first+60, anyName)
		if with {
			maps.Copy(want, recountMinutes([]*Batch{lost}, first, first+60, anyName))
		}
		if diff := cmp.Diff(want, minutesIn(t, s, first, first+60, anyName)); diff != "" {
			t.Error(diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s = openStore(t, o); s.MinutesKnown(first, first+2) != with {
			t.Error("another answer after a restart")
		}
	}
}

// TestMinutesFormat pins the stored value of a bucket.
func TestMinutesFormat(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	g := newTraffic(6)
	g.step = 30_000_000
	apply(t, s, g.batch(60))
	checkpoint(t, s)
	var value []byte
	name := rowName(appendRowKey(nil, &stats.Key{Host: "shop.example.com", Method: "GET", Label: "/api/users/{id}"}))
	bucket := bucketOf(stats.MinuteOf(testStart))
	err := s.view(func(txn *badger.Txn) error {
		_, err := get(txn, appendBucketKey(nil, bucket, name), func(v []byte) error { value = append(value, v...); return nil })
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", "minutes.v1.hex"), []byte(hex.EncodeToString(value)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(filepath.Join("testdata", "minutes.v1.hex"))
	if err != nil || string(golden) != hex.EncodeToString(value)+"\n" {
		t.Errorf("the value of ten minutes is\n%x\n%v", value, err)
	}
	minutes := 0
	if err := eachMinute(value, bucket, func(int64, []byte) error { minutes++; return nil }); err != nil || minutes < 3 {
		t.Errorf("%d minutes, %v", minutes, err)
	}
	newer := append([]byte(nil), value...)
	newer[checksumBytes]++
	seal(newer)
	if err := eachMinute(newer, bucket, func(int64, []byte) error { return nil }); !errors.Is(err, ErrSchema) {
		t.Errorf("a newer version: %v", err)
	}
	for i := range value {
		bad := append([]byte(nil), value...)
		bad[i] ^= 1
		if err := eachMinute(bad, bucket, func(int64, []byte) error { return nil }); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d is damaged: %v", i, err)
		}
	}
}

// TestDamagedMinutes: damaged minutes are set aside when others are added to them, Verify reports them, and queries
// skip them.
func TestDamagedMinutes(t *testing.T) {
	o := testOptions(t.TempDir())
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	g := newTraffic(6)
	apply(t, s, g.batch(200))
	checkpoint(t, s)
	bucket := bucketOf(stats.MinuteOf(testStart))
	key := appendBucketKey(nil, bucket, rowName(appendRowKey(nil, &stats.Key{Host: "shop.example.com", Method: "GET", Label: "/"})))
	if err := s.update(func(txn *badger.Txn) error { return set(txn, key, []byte("damaged")) }); err != nil {
		t.Fatal(err)
	}
	checks, err := s.Verify(t.Context())
	if err != nil || problemsText(checks) == "" || Damage(checks) != "" {
		t.Errorf("verify: %v, %q, condemned for %q", err, problemsText(checks), Damage(checks))
	}
	first := stats.MinuteOf(testStart)
	if rows := minutesIn(t, s, first, first+1, func(k stats.Key) bool { return k.Label == "/" }); len(rows) != 0 {
		t.Errorf("%d rows of damaged minutes", len(rows))
	}
	b := g.batch(200)
	apply(t, s, b)
	checkpoint(t, s)
	home := func(k stats.Key) bool { return k.Label == "/" }
	if diff := cmp.Diff(recountMinutes([]*Batch{b}, first, first+1, home), minutesIn(t, s, first, first+1, home)); diff != "" {
		t.Error(diff)
	}
	if files, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*row-*.bin")); len(files) != 1 {
		t.Errorf("%q in quarantine", files)
	}
}
