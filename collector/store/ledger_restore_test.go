package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// finish applies an epoch, counts three of its responses as lost, and stores its ledger.
func finish(t *testing.T, s *Store, n byte) []*Batch {
	t.Helper()
	batches := begin(t, s, n, 40)
	mark := s.Marks()[uuid.UUID{n}]
	if err := s.Quarantine(uuid.UUID{n}, mark.Seq, 3, nil, "three were lost"); err != nil {
		t.Fatal(err)
	}
	l := Ledger{Epoch: uuid.UUID{n}, Responses: mark.Applied + 5, Recorded: mark.Applied + 3, Dropped: map[string]uint64{"full": 2}}
	if err := s.SetLedger(l); err != nil {
		t.Fatal(err)
	}
	return batches
}

// begin applies two batches of an epoch.
func begin(t *testing.T, s *Store, n byte, events int) (batches []*Batch) {
	t.Helper()
	g := newTraffic(uint64(n))
	g.epoch = uuid.UUID{n}
	for range 2 {
		b := g.batch(events)
		batches = append(batches, b)
		apply(t, s, b)
	}
	return batches
}

func ledgerOptions(t *testing.T, ledgersMax int) Options {
	t.Helper()
	o := testOptions(t.TempDir())
	o.OpenFreeMin, o.LedgersMax = -1, ledgersMax
	return o
}

// checkLedgers checks that the ledgers have the recorded responses of finished epochs, each of which must be in the
// store or count as quarantined.
func checkLedgers(t *testing.T, s *Store, want []Ledger) {
	t.Helper()
	checkPromises(t, s)
	sum := func(ledgers []Ledger) (l Ledger) {
		for _, one := range ledgers {
			l.add(&one)
		}
		return l
	}
	got, totals, marks := sum(s.Ledgers()), mustTotals(t, s), s.Marks()
	recorded := got.Recorded
	for _, l := range s.Ledgers() {
		if mark := marks[l.Epoch]; l.Epoch != uuid.Nil && l.Recorded != mark.Applied+mark.Quarantined {
			t.Errorf("ledger %+v, watermark %+v", l, mark)
		}
		delete(marks, l.Epoch)
	}
	for epoch, mark := range marks {
		n := mark.Applied + mark.Quarantined
		recorded += n
		if epoch[0] < 100 { // finished, in the sum, and in the store, so the collector stores a ledger for it
			got.Recorded, got.Responses = got.Recorded+n, got.Responses+n
		}
	}
	if diff := cmp.Diff(sum(want), got); diff != "" {
		t.Errorf("ledgers (-before +after):\n%s", diff)
	}
	if recorded != totals.Applied+totals.Quarantined {
		t.Errorf("recorded %d, %+v", recorded, totals)
	}
}

// cutFiles truncates every file that matches a pattern.
func cutFiles(t *testing.T, dir, pattern string, keep int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		if err := os.Truncate(name, keep); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLedgersSurviveStore: however a store is lost, the figures of finished epochs are kept, and their missing
// responses count as quarantined, exactly once.
func TestLedgersSurviveStore(t *testing.T) {
	remove := func(names ...string) func(*testing.T, Options) {
		return func(t *testing.T, o Options) {
			for _, name := range names {
				if err := os.RemoveAll(o.Dir + name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	losses := map[string]func(*testing.T, Options){
		"nothing":         func(*testing.T, Options) {},
		"tables":          func(t *testing.T, o Options) { cutFiles(t, o.Dir, "*.sst", 7) },
		"folder":          remove(""),
		"folder and lock": remove("", ".lock"),
		"manifest":        remove("/MANIFEST"),
		"manifest cut":    func(t *testing.T, o Options) { cutFiles(t, o.Dir, "MANIFEST", 16) },
		"log":             remove("/00001.mem", "/00002.mem", "/00003.mem"),
		"log emptied":     func(t *testing.T, o Options) { cutFiles(t, o.Dir, "*.mem", 0) },
		"a level 0 table": func(t *testing.T, o Options) {
			tables, _ := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
			cutFiles(t, o.Dir, filepath.Base(tables[0]), 7)
		},
		"a bit of a table": func(t *testing.T, o Options) {
			tables, _ := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
			body, err := os.ReadFile(tables[len(tables)-1])
			if err != nil {
				t.Fatal(err)
			}
			body[len(body)/3] ^= 2
			if err := os.WriteFile(tables[len(tables)-1], body, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for _, at := range []int64{20, 3000, 20000} {
		losses[fmt.Sprintf("log cut at %d", at)] = func(t *testing.T, o Options) { cutFiles(t, o.Dir, "*.mem", at) }
	}
	for _, ledgersMax := range []int{1000, 2} {
		o := ledgerOptions(t, ledgersMax)
		s := openStore(t, o)
		offered := map[byte][]*Batch{}
		for n := range byte(4) {
			offered[n+1] = finish(t, s, n+1)
			if n%2 == 1 { // half of them are in tables
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = openStore(t, o)
			}
		}
		begin(t, s, 100, 10)
		offered[5] = finish(t, s, 5)
		want := s.Ledgers()
		killed := t.TempDir()
		copyTree(t, filepath.Dir(o.Dir), killed)
		for name, lose := range losses {
			t.Run(fmt.Sprintf("%s, of %d", name, ledgersMax), func(t *testing.T) {
				o := ledgerOptions(t, ledgersMax)
				copyTree(t, killed, filepath.Dir(o.Dir))
				lose(t, o)
				s := openStore(t, o)
				checkLedgers(t, s, want)
				for range 2 { // a second time, after batches that the spool may offer again
					was := mustTotals(t, s)
					for n, batches := range offered {
						if _, summed := s.Watermarks()[uuid.UUID{n}]; !summed {
							continue // its spool was removed long ago
						}
						for _, b := range batches {
							apply(t, s, b)
						}
					}
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					s = openStore(t, o)
					checkLedgers(t, s, want)
					if now := mustTotals(t, s); ledgersMax == 1000 && now.Applied+now.Quarantined != was.Applied+was.Quarantined {
						t.Errorf("%+v, then %+v", was, now)
					}
				}
				finish(t, s, 6)
			})
		}
	}
}

// TestStoreOlderThanBackup: a store in an earlier state gets the later ledgers back, with and without a sum.
func TestStoreOlderThanBackup(t *testing.T) {
	for _, ledgersMax := range []int{1000, 3} {
		o := ledgerOptions(t, ledgersMax)
		s := openStore(t, o)
		for n := range byte(4) {
			finish(t, s, n+1)
		}
		begun := begin(t, s, 5, 20) // this epoch continues later
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		earlier := filepath.Join(t.TempDir(), "store")
		copyTree(t, o.Dir, earlier)
		s = openStore(t, o)
		g := newTraffic(5)
		g.epoch, g.seq = uuid.UUID{5}, begun[1].LastSeq
		later := g.batch(30)
		apply(t, s, later)
		if err := s.SetLedger(Ledger{Epoch: g.epoch, Responses: 70, Recorded: 70}); err != nil {
			t.Fatal(err)
		}
		finish(t, s, 6)
		want := s.Ledgers()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.RemoveAll(o.Dir), os.Rename(earlier, o.Dir)); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, o)
		checkLedgers(t, s, want)
		if diff := cmp.Diff(want, s.Ledgers()); diff != "" {
			t.Errorf("ledgers (-before +after):\n%s", diff)
		}
		if mark := s.Marks()[g.epoch]; mark != (Mark{Seq: later.LastSeq, Applied: 40, Quarantined: 30, From: 1, Open: true}) || !s.RefillDue() {
			t.Errorf("%+v, refill due: %v", mark, s.RefillDue())
		}
		apply(t, s, later)
		checkLedgers(t, s, want)
		if reports, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*-ledgers-loss.txt")); len(reports) != 1 {
			t.Errorf("reports: %v", reports)
		}
	}
}

// TestBackupOlderThanStore: a backup that is older than the store, or missing, changes nothing and is rewritten.
func TestBackupOlderThanStore(t *testing.T) {
	o := ledgerOptions(t, 2)
	s := openStore(t, o)
	var files [][]byte
	for n := range byte(5) {
		finish(t, s, n+1)
		body, err := os.ReadFile(backupFile(&o))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, body)
	}
	want, totals := s.Ledgers(), mustTotals(t, s)
	for i, body := range append(slices.Clone(files), nil) {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		err := os.WriteFile(backupFile(&o), body, 0o600)
		if body == nil {
			err = os.Remove(backupFile(&o))
		}
		if err != nil {
			t.Fatal(err)
		}
		looking := o
		looking.RefuseDamaged = true
		if l, err := Open(looking); err != nil || l.Close() != nil {
			t.Fatal(err)
		}
		if now, _ := os.ReadFile(backupFile(&o)); !bytes.Equal(now, body) {
			t.Error("whoever only looks has written the file")
		}
		s = openStore(t, o)
		if diff := cmp.Diff(want, s.Ledgers()); diff != "" || mustTotals(t, s) != totals {
			t.Errorf("file %d: %+v of %+v, ledgers (-before +after):\n%s", i, mustTotals(t, s), totals, diff)
		}
		if now, _ := os.ReadFile(backupFile(&o)); !bytes.Equal(now, files[4]) {
			t.Errorf("file %d was not written anew:\n%s\n%s", i, now, files[4])
		}
	}
}

// TestSetLedgerWithoutBackup: SetLedger fails as long as the backup cannot be written, so that the spool is not
// removed, and succeeds once it can.
func TestSetLedgerWithoutBackup(t *testing.T) {
	o := ledgerOptions(t, 2)
	s := openStore(t, o)
	finish(t, s, 1)
	before, err := os.ReadFile(backupFile(&o))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(backupFile(&o)+".tmp", "not empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	begin(t, s, 2, 20)
	l := Ledger{Epoch: uuid.UUID{2}, Responses: 40, Recorded: 40}
	if err := s.SetLedger(l); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFailed) {
		t.Errorf("stored without the file: %v", err)
	}
	if now, _ := os.ReadFile(backupFile(&o)); !bytes.Equal(now, before) {
		t.Error("the file is not as it was")
	}
	if err := os.RemoveAll(backupFile(&o) + ".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := s.SetLedger(l); err != nil {
		t.Fatal(err)
	}
	body, _ := os.ReadFile(backupFile(&o))
	if k, err := decodeBackup(body); err != nil || len(k.Ledgers) != 2 {
		t.Errorf("%+v, %v", k, err)
	}
}

// TestMissingLedgers takes the ledgers of a store and a backup at random points in one history. After the missing
// ledgers were restored, the store must have those of the newer of the two.
func TestMissingLedgers(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 60))
		ledgers, stored := map[uuid.UUID]storedLedger{}, uint64(0)
		history := []backupContent{{}}
		states := []map[uuid.UUID]storedLedger{{}}
		for n := range 30 {
			stored++
			epoch := uuid.UUID{byte(n + 1)}
			if r.IntN(3) == 0 { // stored again with other figures, if it is still there
				if known := (uuid.UUID{byte(1 + r.IntN(n+1))}); ledgers[known].Order > 0 {
					epoch = known
				}
			}
			count := r.Uint64N(100)
			c := newLedgerChange(ledgers, Ledger{Epoch: epoch, Responses: count, Recorded: count}, stored, 4)
			c.apply(ledgers)
			k := backupContent{Stored: stored}
			for _, l := range ledgers {
				k.Ledgers = append(k.Ledgers, backedUpLedger{storedLedger: l})
			}
			history, states = append(history, k), append(states, maps.Clone(ledgers))
		}
		for range 50 {
			file, have := r.IntN(len(history)), r.IntN(len(states))
			got := maps.Clone(states[have])
			missing := history[file].missingFrom(got)
			if missing.sum != nil {
				got[uuid.Nil] = *missing.sum
			}
			for _, epoch := range missing.inSum {
				delete(got, epoch)
			}
			for _, l := range missing.ledgers {
				got[l.Epoch] = l.storedLedger
			}
			if diff := cmp.Diff(states[max(file, have)], got); diff != "" {
				t.Fatalf("seed %d, a file of %d and a store of %d (-want +got):\n%s", seed, file, have, diff)
			}
		}
	}
}
