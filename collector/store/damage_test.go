package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/verify"
)

// TestFlippedBitInTable flips one bit in each part of a table in turn. Each must be found.
func TestFlippedBitInTable(t *testing.T) {
	o := testOptions(t.TempDir())
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	g := newTraffic(1)
	for range 40 {
		apply(t, s, g.batch(1000))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	whole, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(whole) < 4*16<<10 {
		t.Fatalf("a table of %d bytes has no block that Badger does not read while it opens", len(whole))
	}
	if err := badgerfiles.CheckTable(names[0]); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += 1 + len(whole)/97 {
		broken := bytes.Clone(whole)
		broken[at] ^= 4
		if err := os.WriteFile(names[0], broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := badgerfiles.CheckTable(names[0]); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d of %d: %v", at, len(whole), err)
		}
	}
	// A store with such a table is set aside with a report, rather than opened without part of its data.
	openStore(t, o)
	if aside, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*-store.txt")); len(aside) != 1 {
		t.Errorf("set aside: %v", aside)
	}
}

// problemsOf verifies the store and returns the problems by check.
func problemsOf(t *testing.T, s *Store) map[string][]string {
	t.Helper()
	checks, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, c := range checks {
		if c.Found > 0 {
			out[c.Name] = c.Problems
		}
	}
	return out
}

// TestVerifyFindsDamage breaks one promise at a time in an intact store.
func TestVerifyFindsDamage(t *testing.T) {
	change := func(fn func(txn *badger.Txn) error) func(*testing.T, *Store) {
		return func(t *testing.T, s *Store) {
			if err := s.update(fn); err != nil {
				t.Fatal(err)
			}
		}
	}
	firstKey := func(txn *badger.Txn, prefix byte) (key, value []byte) {
		_ = each(context.Background(), txn, []byte{prefix}, nil, func(k, v []byte) error {
			if key == nil {
				key, value = bytes.Clone(k), bytes.Clone(v)
			}
			return nil
		})
		return key, value
	}
	for name, test := range map[string]struct {
		check string
		do    func(*testing.T, *Store)
	}{
		"a block is gone": {"event blocks", change(func(txn *badger.Txn) error {
			key, _ := firstKey(txn, prefixBlock)
			return txn.Delete(key)
		})},
		"a block is not pending": {"event blocks", change(func(txn *badger.Txn) error {
			key, _ := firstKey(txn, prefixPending)
			return txn.Delete(key)
		})},
		"a bit in a block": {"event blocks", change(func(txn *badger.Txn) error {
			key, value := firstKey(txn, prefixBlock)
			value[len(value)/2] ^= 1
			return txn.Set(key, value)
		})},
		"a row is gone": {"hourly sums", change(func(txn *badger.Txn) error {
			key, _ := firstKey(txn, prefixRow)
			return txn.Delete(key)
		})},
		"a bit in a row": {"hourly sums", change(func(txn *badger.Txn) error {
			key, value := firstKey(txn, prefixRow)
			value[len(value)/2] ^= 1
			return txn.Set(key, value)
		})},
		"a sum of another row": {"sums", change(func(txn *badger.Txn) error {
			key, _ := firstKey(txn, prefixDayRow)
			_, value := firstKey(txn, prefixRow)
			var row, two stats.Row
			if _, err := decodeRow(value, &row); err != nil {
				return err
			}
			two.Merge(&row)
			two.Merge(&row)
			return txn.Set(key, appendRow(nil, 0, &two))
		})},
		"a sum is gone": {"sums", change(func(txn *badger.Txn) error {
			key, _ := firstKey(txn, prefixDayRow)
			return txn.Delete(key)
		})},
		"a sum of a name that has no rows": {"sums", change(func(txn *badger.Txn) error {
			key, value := firstKey(txn, prefixDayRow)
			return txn.Set(append(key, 'x'), value)
		})},
		"a mark that is out of date": {"sums", change(func(txn *badger.Txn) error {
			key, value := firstKey(txn, prefixRow)
			var row stats.Row
			if _, err := decodeRow(value, &row); err != nil {
				return err
			}
			row.BytesOut++
			return txn.Set(key, appendRow(nil, 1, &row))
		})},
		"an event held twice": {"watermarks", change(func(txn *badger.Txn) error {
			key, value := firstKey(txn, prefixBlock)
			id, _ := parseBlockKey(key)
			id.Index = 77
			if err := txn.Set(blockKey(prefixPending, id), nil); err != nil {
				return err
			}
			return txn.Set(blockKey(prefixBlock, id), value)
		})},
		"a watermark too low": {"watermarks", func(_ *testing.T, s *Store) {
			s.Accounts.mu.Lock()
			defer s.Accounts.mu.Unlock()
			for epoch, w := range s.watermarks {
				w.seq--
				s.watermarks[epoch] = w
			}
		}},
		"a total too high": {"totals", func(_ *testing.T, s *Store) {
			s.Accounts.mu.Lock()
			defer s.Accounts.mu.Unlock()
			s.counters.totals.Applied++
		}},
		"an archived total without a plan": {"totals", func(_ *testing.T, s *Store) {
			s.Accounts.mu.Lock()
			defer s.Accounts.mu.Unlock()
			s.counters.totals.Archived++
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.Now = func() time.Time { return testStart.Add(3 * 24 * time.Hour) }
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			apply(t, s, newTraffic(3).batch(2500))
			if err := s.makeRoom(); err != nil {
				t.Fatal(err)
			}
			if more, err := s.Rollup(t.Context(), time.Hour); more || err != nil {
				t.Fatal(more, err)
			}
			if found := problemsOf(t, s); len(found) > 0 {
				t.Fatalf("before: %v", found)
			}
			test.do(t, s)
			if found := problemsOf(t, s); len(found[test.check]) == 0 {
				t.Errorf("found %v, want something under %q", found, test.check)
			}
		})
	}
}

func problemsText(checks []*verify.Check) string {
	var out []string
	for _, c := range checks {
		for _, p := range c.Problems {
			out = append(out, c.Name+": "+p)
		}
	}
	return strings.Join(out, "\n")
}

// TestManifestCutOff truncates Badger's MANIFEST so that a valid one with fewer tables remains, and Badger would delete
// the others. They must be kept, and the store must be set aside together with them.
func TestManifestCutOff(t *testing.T) {
	for _, keep := range []int64{16, 18} { // only its header; and the header with a torn first entry
		o := testOptions(t.TempDir())
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s, newTraffic(1).batch(500))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(o.Dir, "MANIFEST"), keep); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, o)
		if totals, err := s.Totals(); totals.Applied != 0 || err != nil {
			t.Errorf("the new store is not empty: %+v, %v", totals, err)
		}
		kept, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*-store", "unlisted", "*.sst"))
		if len(kept) == 0 {
			t.Errorf("cut at %d: the tables are gone", keep)
		}
	}
}

// TestManifestLosesEpoch: the rows and counters of the orphaned table have been rewritten since, so all sums are right
// without it. But it is the only place that has a finished epoch.
func TestManifestLosesEpoch(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	g := newTraffic(1)
	apply(t, s, g.batch(500))
	if err := s.SetLedger(Ledger{Epoch: testEpoch, Responses: 500, Recorded: 500}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	next := newTraffic(1)
	next.epoch = uuid.Must(uuid.NewV7())
	apply(t, s, next.batch(500))
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	killed := testOptions(t.TempDir())
	if err := os.CopyFS(filepath.Dir(killed.Dir), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(killed.Dir, "MANIFEST"), 16); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, killed)
	totals, err := s.Totals()
	if err != nil || totals.Applied != 0 || totals.Quarantined != 500 { // the spool has the other epoch
		t.Errorf("%+v, %v", totals, err)
	}
	if l := s.Ledgers(); len(l) != 1 || l[0].Recorded != 500 {
		t.Errorf("ledgers %+v", l)
	}
	kept, _ := filepath.Glob(filepath.Join(killed.QuarantineDir, "*-store", "unlisted", "*.sst"))
	if len(kept) == 0 {
		t.Error("the table is gone")
	}
}

// TestSchemaFileDamaged: no flipped bit in the file with the schema version may make a store look newer than it is.
func TestSchemaFileDamaged(t *testing.T) {
	o := testOptions(t.TempDir())
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(o.Dir, schemaFile)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(whole) {
		broken := bytes.Clone(whole)
		broken[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(name, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkSchemaFile(o.Dir); err != nil {
			t.Errorf("bit %d of %q: %v", bit, whole, err)
		}
	}
}

// TestOrphanOfCrash: an orphaned table that a crash has left half written does no harm.
func TestOrphanOfCrash(t *testing.T) {
	o := testOptions(t.TempDir())
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, newTraffic(1).batch(500))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, _ := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
	body, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, part := range map[string][]byte{"000077.sst": body, "000078.sst": body[:len(body)/2], "000079.sst": make([]byte, len(body))} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), part, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = openStore(t, o)
	if totals, err := s.Totals(); totals.Applied == 0 || err != nil || badgerfiles.Exists(orphansDir(&o)) {
		t.Errorf("%+v, %v", totals, err)
	}
}
