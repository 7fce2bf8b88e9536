package books

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
)

// TestVerifyCondemns: if an offline verification finds that a store is damaged although it can be opened, the next start sets the store aside.
// An undamaged store stays.
func TestVerifyCondemns(t *testing.T) {
	g := newRefillRig(t, 1)
	dir := filepath.Join(t.TempDir(), "data")
	l := g.open(dir)
	g.request(l, 100)
	g.drain(l)
	g.end(l)
	cfg, err := configs.Load(configs.LoadOptions{Flags: map[string]string{"data.dir": dir}})
	g.must(err)
	for _, damaged := range []bool{false, true} {
		if damaged {
			spoilBlock(t, filepath.Join(dir, datadir.StoreDir))
		}
		report, err := Verify(t.Context(), cfg, slog.New(slog.DiscardHandler), true)
		g.must(err)
		if report.Found() != damaged {
			t.Errorf("damaged %v: %+v", damaged, report)
		}
		l = g.open(dir)
		if l.store.RefillDue() != damaged {
			t.Errorf("damaged %v: a refill is due: %v", damaged, l.store.RefillDue())
		}
		g.end(l)
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, datadir.Quarantine, "*-store.txt")); len(aside) != 1 {
		t.Errorf("set aside: %v", aside)
	}
}

// spoilBlock changes one byte of an event block without breaking any of Badger's checksums.
func spoilBlock(t *testing.T, dir string) {
	t.Helper()
	db, err := badger.Open(badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = []byte{'b'}
		it := txn.NewIterator(o)
		it.Rewind()
		key := it.Item().KeyCopy(nil)
		value, err := it.Item().ValueCopy(nil)
		it.Close()
		if err != nil {
			return err
		}
		value[len(value)-1] ^= 1
		return txn.Set(key, value)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(dir, "LOCK"))
}
