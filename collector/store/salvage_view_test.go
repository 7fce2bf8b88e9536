package store

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// everyKey reads a Badger folder as it is, newest versions only.
func everyKey(t *testing.T, dir string) map[string]string {
	t.Helper()
	o := salvageOptions(t.TempDir())
	o.Dir = dir
	if err := o.setDefaults(); err != nil {
		t.Fatal(err)
	}
	db, err := badger.Open(badgerOptions(&o).WithNumCompactors(0).WithNumLevelZeroTables(1 << 20).WithNumLevelZeroTablesStall(1<<20 + 1))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	err = db.View(func(txn *badger.Txn) error {
		return each(txn, nil, nil, func(key, value []byte) error { out[string(key)] = string(value); return nil })
	})
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestViewShowsWhatItMisses damages tables at random: every key outside the ranges that the view says may be incomplete must
// be there as it was, or be missing as it was: no older version, and nothing that was deleted.
func TestViewShowsWhatItMisses(t *testing.T) {
	k := knownStore(t, 3, true)
	whole := filepath.Join(t.TempDir(), "whole")
	copyTree(t, filepath.Join(k.dir, "store"), whole)
	want := everyKey(t, whole)
	tables, _ := filepath.Glob(filepath.Join(k.dir, "store", "*.sst"))
	if len(tables) < 2 {
		t.Fatalf("%d tables", len(tables))
	}
	outside, ranges := 0, 0
	for trial := range 24 {
		r := rand.New(rand.NewPCG(3, uint64(trial)))
		dir := t.TempDir()
		copyTree(t, filepath.Join(k.dir, "store"), filepath.Join(dir, "store"))
		name := filepath.Join(dir, "store", filepath.Base(tables[r.IntN(len(tables))]))
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := r.IntN(len(body)); trial%8 == 7 {
			body = body[:at]
		} else {
			body[at] ^= 2
		}
		if err := os.WriteFile(name, body, 0o600); err != nil {
			t.Fatal(err)
		}
		view := filepath.Join(dir, "view")
		lost, report, err := buildView(view, filepath.Join(dir, "store"), filepath.Join(dir, "none"))
		if err != nil || len(lost) == 0 || len(report) == 0 {
			t.Fatalf("trial %d: %v, %v, %v", trial, lost, report, err)
		}
		got := everyKey(t, view)
		ranges += len(lost)
		for key, value := range want {
			if lost.has([]byte(key)) {
				continue
			}
			outside++
			if now, there := got[key]; !there || now != value {
				t.Fatalf("trial %d: key %x is not as it was, there %v: %s", trial, key, there, report)
			}
		}
		for key := range got {
			if _, was := want[key]; !was && !lost.has([]byte(key)) {
				t.Fatalf("trial %d: key %x had been deleted: %s", trial, key, report)
			}
		}
	}
	t.Logf("%d keys compared, %d ranges of %d trials", outside, ranges, 24)
	if outside < len(want) {
		t.Errorf("only %d keys of %d were ever outside", outside, len(want))
	}
}

// TestNothingOfALostRange: what lies in a range that may be incomplete is not carried over.
func TestNothingOfALostRange(t *testing.T) {
	k := knownStore(t, 4, true)
	var blocks [][]byte
	for key := range everyKey(t, filepath.Join(k.dir, "store")) {
		if key[0] == prefixBlock {
			blocks = append(blocks, []byte(key))
		}
	}
	lost := lostKeys{{from: blocks[0], to: successor(blocks[0])}, {from: []byte{prefixPath, 't', '1'}, to: []byte{prefixPath, 't', '2'}}, {from: []byte{prefixWatermark}, to: []byte{prefixWatermark + 1}}}
	dir := t.TempDir()
	o := salvageOptions(dir)
	if err := o.setDefaults(); err != nil {
		t.Fatal(err)
	}
	saved, err := copyStore(t.Context(), &o, filepath.Join(k.dir, "store"), lost)
	if err != nil {
		t.Fatal(err)
	}
	for key := range everyKey(t, o.Dir) {
		if lost.has([]byte(key)) && key[0] != prefixWatermark || key[0] == prefixPath {
			t.Errorf("key %x was carried over", key)
		}
	}
	if saved.paths || !strings.Contains(saved.String(), "paths are learnt anew") || saved.unsureMark == 0 {
		t.Error(saved)
	}
	if err := checkSalvaged(t.Context(), o); err != nil {
		t.Error(err)
	}
	s := openStore(t, o)
	k.check(t, s)
	k.offerAgain(t, s)
}

func TestLostKeys(t *testing.T) {
	lost := lostKeys{{from: []byte("b"), to: []byte("d")}, {from: []byte("x")}}
	for key, want := range map[string]bool{"a": false, "b": true, "c\xff": true, "d": false, "x": true, "zz": true} {
		if lost.has([]byte(key)) != want {
			t.Errorf("%q", key)
		}
	}
	for prefix, want := range map[string]bool{"a": false, "b": true, "c": true, "d": false, "e": false, "x": true, "\xff": true} {
		if lost.touches([]byte(prefix)) != want {
			t.Errorf("prefix %q", prefix)
		}
	}
	if lost.everything() || !(lostKeys{everything}).everything() || !(lostKeys{everything}).has(nil) {
		t.Error("everything")
	}
	if !bytes.Equal(behind([]byte("a\xff\xff")), []byte("b")) || behind([]byte("\xff")) != nil {
		t.Error("behind")
	}
}

// TestDamagedLogBeforeAnother: a log that is damaged while a later one goes on is no shorter store, as the last one is: what the
// later one holds may build on what is gone.
func TestDamagedLogBeforeAnother(t *testing.T) {
	k := knownStore(t, 7, false)
	for _, last := range []bool{false, true} {
		dir := t.TempDir()
		copyTree(t, k.dir, dir)
		o := salvageOptions(dir)
		logs := logFiles(o.Dir)
		name := logs[len(logs)-1]
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		end, whole := logEnd(body)
		if end <= logHeadBytes || !whole {
			t.Fatalf("%s holds %d bytes, whole %v", name, end, whole)
		}
		if !last { // a later one that says the same
			if err := os.WriteFile(filepath.Join(o.Dir, "99999.mem"), body, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		body[end/2] ^= 1
		if err := os.WriteFile(name, body, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openStore(t, o)
		if wasSetAside(t, &o) == last {
			t.Errorf("the last log damaged: %v; set aside: %v", last, last)
		}
		k.check(t, s)
		k.offerAgain(t, s)
	}
}
