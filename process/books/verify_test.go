package books

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
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

// TestDamagedArchiveDoesNotCondemn: objects that are missing or damaged in the archive are reported, but the store keeps its events, whether
// it is verified at rest or while it is used.
func TestDamagedArchiveDoesNotCondemn(t *testing.T) {
	g := newRefillRig(t, 1)
	dir := filepath.Join(t.TempDir(), "data")
	l := g.open(dir)
	g.request(l, 100)
	g.drain(l)
	g.archive(l)
	g.end(l)
	objects, err := filepath.Glob(filepath.Join(dir, datadir.ArchiveDir, "v1", "dt=*", "*", "*.ndjson.gz"))
	g.must(err)
	if len(objects) == 0 {
		t.Fatal("nothing was archived")
	}
	cfg, err := configs.Load(configs.LoadOptions{Flags: map[string]string{"data.dir": dir}})
	g.must(err)
	for what, spoil := range map[string]func(name string) error{
		"damaged": func(name string) error { return os.WriteFile(name, []byte("not gzip"), 0o600) },
		"missing": os.Remove,
	} {
		g.must(spoil(objects[0]))
		report, err := Verify(t.Context(), cfg, slog.New(slog.DiscardHandler), false)
		g.must(err)
		if !report.Found() {
			t.Errorf("%s: nothing was found", what)
		}
		l = g.open(dir)
		l.damaged = make(chan struct{})
		w := httptest.NewRecorder()
		l.serveVerify(w, httptest.NewRequest(http.MethodPost, "/api/v1/verify", nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), filepath.Base(objects[0])) {
			t.Errorf("%s: %d: %s", what, w.Code, w.Body)
		}
		select {
		case <-l.damaged:
			t.Errorf("%s: the books process would end, and set its store aside", what)
		default:
		}
		if l.store.RefillDue() {
			t.Errorf("%s: the store was set aside", what)
		}
		g.promises(l)
		g.end(l)
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
