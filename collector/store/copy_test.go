package store

import (
	"path/filepath"
	"testing"
)

// TestCopy: a copy has what the store had when it began, rows in memory included, and not what was applied afterwards. All of its epochs are
// unreconciled.
func TestCopy(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	g := newTraffic(5)
	apply(t, s, g.batch(700))
	checkpoint(t, s)
	apply(t, s, g.batch(300)) // its rows are in memory only
	want := recountRows(t, s)
	c, err := s.BeginCopy()
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, g.batch(500))
	checkpoint(t, s)
	o := testOptions(t.TempDir())
	o.Dir = filepath.Join(filepath.Dir(o.Dir), "copy")
	bytes, err := c.Write(t.Context(), o.Dir)
	if err != nil || bytes == 0 {
		t.Fatal(bytes, err)
	}
	if _, err := c.Write(t.Context(), o.Dir); err == nil {
		t.Error("a copy over a copy")
	}
	c.Close()
	copied := openStore(t, o)
	totals, sum, err := copied.Account(t.Context())
	if err != nil || totals.Applied != want || sum != want {
		t.Errorf("the copy has %+v, %d in its rows, want %d; %v", totals, sum, want, err)
	}
	if unreconciled, _ := copied.Unreconciled(g.epoch); !unreconciled {
		t.Error("the epoch of the copy is reconciled")
	}
	wantVerified(t, copied, 0)
}

// recountRows is the number of responses that the store has applied.
func recountRows(t *testing.T, s *Store) uint64 {
	t.Helper()
	totals, sum, err := s.Account(t.Context())
	if err != nil || totals.Applied != sum {
		t.Fatal(totals, sum, err)
	}
	return sum
}
