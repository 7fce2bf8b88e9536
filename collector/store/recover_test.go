package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
	"github.com/wayside-proxy/wayside/collector/store/block"
)

// TestCrashAnywhere copies the folder after random steps, as a crash would leave it, and opens the copy.
func TestCrashAnywhere(t *testing.T) {
	for seed := range uint64(12) {
		crashSomewhere(t, seed)
	}
}

func crashSomewhere(t *testing.T, seed uint64) {
	dir := t.TempDir()
	o := testOptions(filepath.Join(dir, "a"))
	g := newTraffic(seed)
	if seed%3 == 0 {
		o.LiveRowsMax = 3
	}
	if seed%2 == 0 {
		g.step = 5_000_000
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 1 + g.r.IntN(7) {
		switch g.r.IntN(4) {
		case 0:
			checkpoint(t, s)
		case 1:
			writeSomeRows(t, s) // simulates an interrupted checkpoint
		default:
			apply(t, s, g.batch(1+g.r.IntN(1500)))
		}
	}
	copyTree(t, filepath.Join(dir, "a"), filepath.Join(dir, "b"))
	want, marks := allRows(t, s), s.Watermarks()
	o = testOptions(filepath.Join(dir, "b"))
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	checkPromises(t, c)
	if diff := cmp.Diff(want, allRows(t, c)); diff != "" {
		t.Errorf("seed %d: rows after a crash: %s", seed, diff)
	}
	if diff := cmp.Diff(marks, c.Watermarks()); diff != "" {
		t.Errorf("seed %d: watermarks after a crash: %s", seed, diff)
	}
	if badgerfiles.Exists(o.QuarantineDir) {
		t.Errorf("seed %d: a crash left something to quarantine", seed)
	}
}

// writeSomeRows writes about half of the changed rows without moving the checkpoint.
func writeSomeRows(t *testing.T, s *Store) {
	s.Statistics.mu.Lock()
	var rows []*liveRow
	for _, row := range s.live {
		if row.dirty && len(rows) < 1+len(s.live)/2 {
			rows = append(rows, row)
		}
	}
	s.Statistics.mu.Unlock()
	if err := s.writeRows(rows); err != nil {
		t.Fatal(err)
	}
}

func TestCheckpointSpansTransactions(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	fillHours(t, s, 2, 2000)
	s.Statistics.mu.Lock()
	dirty := len(s.live)
	s.Statistics.mu.Unlock()
	if dirty <= 2*rowsChunk {
		t.Fatalf("only %d rows", dirty)
	}
	checkpoint(t, s)
	checkPromises(t, s)
	want := allRows(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if len(s.live) != 0 {
		t.Errorf("%d rows were replayed after a checkpoint", len(s.live))
	}
	if diff := cmp.Diff(want, allRows(t, s)); diff != "" {
		t.Error(diff)
	}
	_ = s.view(func(txn *badger.Txn) error {
		return each(context.Background(), txn, []byte{prefixBatch}, nil, func(key, _ []byte) error {
			t.Errorf("batch record %x below the checkpoint", key)
			return nil
		})
	})
}

func TestOpenInUse(t *testing.T) {
	o := testOptions(t.TempDir())
	_ = openStore(t, o)
	if _, err := Open(o); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
}

func TestOpenDamaged(t *testing.T) {
	cut := func(pattern string) func(*testing.T, Options) {
		return func(t *testing.T, o Options) {
			names, err := filepath.Glob(filepath.Join(o.Dir, pattern))
			if err != nil || len(names) == 0 {
				t.Fatal(names, err)
			}
			if err := os.WriteFile(names[0], []byte("this is not a database"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, damage := range map[string]func(*testing.T, Options){
		"manifest": cut("MANIFEST"),
		"registry": cut("KEYREGISTRY"),
		"table gone": func(t *testing.T, o Options) {
			names, _ := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
			if err := os.Remove(names[0]); err != nil {
				t.Fatal(err)
			}
		},
		"crashed twice": func(t *testing.T, o Options) {
			body := openingHead + "1\npanic: in a goroutine of Badger's\n"
			if err := os.WriteFile(o.Dir+".opening", []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			apply(t, s, newTraffic(1).batch(10))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, o)
			s = openStore(t, o)
			if totals, _ := s.Totals(); totals.Applied != 0 || !s.RefillDue() {
				t.Errorf("the new store has %d responses, and is to be refilled: %v", totals.Applied, s.RefillDue())
			}
			apply(t, s, newTraffic(1).batch(10))
			if totals, _ := s.Totals(); totals.Applied != 10 {
				t.Errorf("%d responses after the batch was offered again", totals.Applied)
			}
			aside, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*-store"))
			report, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*-store.txt"))
			if len(aside) != 1 || len(report) != 1 {
				t.Errorf("quarantine holds %v and %v", aside, report)
			}
		})
	}
}

func TestOpenAfterKillsAndOneCrash(t *testing.T) {
	o := testOptions(t.TempDir())
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, newTraffic(1).batch(10))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"", openingHead + "0\n", openingHead + "0\npanic: x\n", openingHead + "1\n"} {
		if err := os.WriteFile(o.Dir+".opening", []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		s := openStore(t, o)
		if totals, _ := s.Totals(); totals.Applied != 10 || badgerfiles.Exists(o.QuarantineDir) || badgerfiles.Exists(o.Dir+".opening") {
			t.Errorf("after marker %q: %+v", left, totals)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamagedBlockIsNamed(t *testing.T) {
	o := testOptions(t.TempDir())
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	apply(t, s, newTraffic(1).batch(10))
	id := blockIDs(t, s)[0]
	good := blockValue(t, s, id)
	d := block.NewDecoder()
	defer d.Close()
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x40
		if err := d.Open(id, bad); i != 2 && i != 3 && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrSchema) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if err := d.Open(id, good[:i]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	p := pendingPlan(t, s, "v1/x")
	bad := append([]byte(nil), good...)
	bad[len(bad)-1]++
	if err := s.update(func(txn *badger.Txn) error { return set(txn, blockKey(prefixBlock, id), bad) }); err != nil {
		t.Fatal(err)
	}
	err = s.Events(t.Context(), p, nil)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "/1/0") {
		t.Error(err)
	}
}

func TestDamagedRowShows(t *testing.T) {
	o := testOptions(t.TempDir())
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g := newTraffic(1)
	apply(t, s, g.batch(100))
	s.Statistics.mu.Lock()
	var key []byte
	for k := range s.live {
		key = appendRowKey(nil, &k)
		break
	}
	s.Statistics.mu.Unlock()
	if err := s.makeRoom(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Account(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.update(func(txn *badger.Txn) error { return set(txn, key, []byte("rubbish, of some length")) }); err != nil {
		t.Fatal(err)
	}
	apply(t, s, g.batch(500))
	checkpoint(t, s)
	totals, aggregated, err := s.Account(t.Context())
	if err != nil || aggregated >= totals.Applied {
		t.Errorf("aggregated %d of %d although a row is lost, %v", aggregated, totals.Applied, err)
	}
	if files, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "row-*.bin")); len(files) != 1 {
		t.Errorf("set aside: %v", files)
	}
}

func TestOpenFullDisk(t *testing.T) {
	o := testOptions(t.TempDir())
	o.ReserveBytes = 1 << 20
	s := openStore(t, o)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !badgerfiles.Exists(reserveName(&o)) {
		t.Fatal("no reserve file")
	}
	o.OpenFreeMin = 1 << 60
	if _, err := Open(o); !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if badgerfiles.Exists(reserveName(&o)) {
		t.Error("the reserve file was not given up")
	}
	o.OpenFreeMin = 0
	_ = openStore(t, o)
	if !badgerfiles.Exists(reserveName(&o)) {
		t.Error("the reserve file was not made again")
	}
}

func TestClosed(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Apply(newTraffic(1).batch(1)); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	if err := s.SetLedger(Ledger{Epoch: uuid.UUID{1}}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
