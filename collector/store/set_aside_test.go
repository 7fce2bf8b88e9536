package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
)

func wasSetAside(t *testing.T, o *Options) bool {
	t.Helper()
	reports, err := filepath.Glob(filepath.Join(o.QuarantineDir, "*-store*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return len(reports) > 0
}

func mustTotals(t *testing.T, s *Store) Totals {
	t.Helper()
	totals, err := s.Totals()
	if err != nil {
		t.Fatal(err)
	}
	return totals
}

// archiveAndDelete plans, verifies and deletes all pending blocks.
func archiveAndDelete(t *testing.T, s *Store) {
	t.Helper()
	checkpoint(t, s)
	p := pendingPlan(t, s, "v1/x")
	if err := s.AddPlan(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkVerified(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBlocks(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

// TestCondemned: a store in which Verify has found damage is set aside when it is next opened, once, with a report of
// the damage.
func TestCondemned(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	apply(t, s, newTraffic(1).batch(500))
	checkpoint(t, s)
	spoil := func(prefix byte, change func([]byte)) {
		t.Helper()
		err := s.update(func(txn *badger.Txn) error {
			var key, value []byte
			err := each(context.Background(), txn, []byte{prefix}, nil, func(k, v []byte) error {
				key, value = bytes.Clone(k), bytes.Clone(v)
				return nil
			})
			change(value)
			return errors.Join(err, txn.Set(key, value))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	damage := func() string {
		t.Helper()
		checks, err := s.Verify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return Damage(checks)
	}
	if found := damage(); found != "" {
		t.Fatal(found)
	}
	spoil(prefixBlock, func(v []byte) { v[len(v)/2] ^= 1 })
	found := damage()
	if !strings.Contains(found, "event blocks") {
		t.Fatalf("found %q", found)
	}
	if err := errors.Join(Condemn(o.Dir, found), s.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time, the new store is opened, which is intact
		s = openStore(t, o)
		if totals, err := s.Totals(); err != nil || totals.Applied != 0 || !s.RefillDue() {
			t.Errorf("%+v, refill due %v, %v", totals, s.RefillDue(), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	reports, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*-store*.txt"))
	if len(reports) != 1 {
		t.Fatal(reports)
	}
	text, err := os.ReadFile(reports[0])
	for _, want := range []string{"wayside verify found", "event blocks", ".sst of", "store.ledgers"} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("the report does not say %q, %v:\n%s", want, err, text)
		}
	}
}

// TestCondemnedAndKilled: the process is killed after the store was set aside and before the file that condemned it was
// removed. The new store must not be set aside.
func TestCondemnedAndKilled(t *testing.T) {
	o := testOptions(t.TempDir())
	if err := openStore(t, o).Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(o.Dir), Condemn(o.Dir, "x")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := openStore(t, o).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if wasSetAside(t, &o) || badgerfiles.Exists(condemnedFile(o.Dir)) {
		t.Error("the new store was condemned as well")
	}
}

// TestDamagedLogBeforeAnother: the store is set aside if a log is damaged and a later one follows, which may build on
// the lost entries. If the last log is damaged, the store is merely in an earlier state and stays in use.
func TestDamagedLogBeforeAnother(t *testing.T) {
	made := t.TempDir()
	o := testOptions(made)
	s := openStore(t, o)
	apply(t, s, newTraffic(1).batch(500))
	for _, last := range []bool{false, true} {
		dir := t.TempDir()
		copyTree(t, made, dir) // as a kill would leave it
		o := testOptions(dir)
		logs := badgerfiles.Logs(o.Dir)
		name := logs[len(logs)-1]
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		end := len(bytes.TrimRight(body, "\x00"))
		if end < 1000 {
			t.Fatalf("%s holds %d bytes", name, end)
		}
		if !last { // a later one with the same entries
			if err := os.WriteFile(filepath.Join(o.Dir, "99999.mem"), body, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		body[end/2] ^= 1
		if err := os.WriteFile(name, body, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openStore(t, o)
		if wasSetAside(t, &o) == last || s.RefillDue() == last {
			t.Errorf("the last log damaged: %v; set aside: %v", last, last)
		}
		checkPromises(t, s)
	}
}
