package store

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// TestBegan checks from when on there are figures: the creation of the store, an event that had been waiting since
// before that, a restart, an older schema, rows from an archive.
func TestBegan(t *testing.T) {
	o := testOptions(t.TempDir())
	made := testStart.Add(20 * time.Minute)
	o.Now = func() time.Time { return made }
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, want time.Time) {
		t.Helper()
		if got := s.Began(); !got.Equal(want) {
			t.Errorf("%s: began %s, want %s", what, got, want)
		}
	}
	reopen := func() {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		made = made.Add(time.Hour)
		if s, err = Open(o); err != nil {
			t.Fatal(err)
		}
	}
	check("a new store", made)
	g := newTraffic(1)
	g.now = made.Add(time.Minute).UnixMicro()
	apply(t, s, g.batch(10))
	check("events after its beginning", made)
	g.now = testStart.UnixMicro()
	older := g.batch(10)
	apply(t, s, older)
	first := time.UnixMicro(older.Items[0].Event.TimeMicros)
	check("events that waited for it", first)
	reopen()
	check("a restart", first)
	if err := s.update(func(txn *badger.Txn) error {
		older := binary.LittleEndian.AppendUint64([]byte{3, 0, 0, 0}, uint64(first.UnixMicro()))
		return set(txn, []byte{prefixSchema}, older)
	}); err != nil {
		t.Fatal(err)
	}
	reopen()
	check("an older schema", first)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	o = testOptions(t.TempDir())
	o.Now = time.Now
	if s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	hour := stats.HourOfMicros(testStart.UnixMicro())
	row := new(stats.Row)
	row.Add(&older.Items[0].Event)
	if err := s.ImportRows(t.Context(), []stats.Key{{Hour: hour, Host: "a", Method: "GET", Label: "/"}}, []*stats.Row{row}); err != nil {
		t.Fatal(err)
	}
	check("rows of an archive", testStart.Truncate(time.Hour))
}
