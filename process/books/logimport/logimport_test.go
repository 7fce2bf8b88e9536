package logimport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/weblog"
)

// rig is a data directory into which logs are imported.
type rig struct {
	*testing.T
	dir  string // of the logs
	cfg  *configs.Config
	want uint64 // responses that must be in the rows
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, dir: t.TempDir()}
	cfg, err := configs.Load(configs.LoadOptions{Flags: map[string]string{"data.dir": filepath.Join(r.dir, "data")}})
	if err != nil {
		t.Fatal(err)
	}
	r.cfg = cfg
	return r
}

// lines are n lines of combined, from the given number on: a line a second, over many paths and hours.
func lines(from, n int) string {
	var b strings.Builder
	for i := from; i < from+n; i++ {
		at := time.Date(2025, 3, 3, 10, 0, 0, 0, time.UTC).Add(time.Duration(i) * 20 * time.Second)
		fmt.Fprintf(&b, "203.0.113.7 - - [%s] \"GET /%c/page/%d HTTP/1.1\" %d %d \"-\" \"curl\"\n", at.Format("02/Jan/2006:15:04:05 -0700"), 'a'+i%26, i, 200+100*(i%4), i%1000)
	}
	return b.String()
}

func (r *rig) file(name, text string) string {
	r.Helper()
	path := filepath.Join(r.dir, name)
	body := []byte(text)
	if strings.HasSuffix(name, ".gz") {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, err := w.Write(body)
		if err := errors.Join(err, w.Close()); err != nil {
			r.Fatal(err)
		}
		body = out.Bytes()
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		r.Fatal(err)
	}
	return path
}

func (r *rig) importing(o Options) ([]File, error) {
	return Import(r.Context(), r.cfg, slog.New(slog.DiscardHandler), o)
}

// counted imports a file and wants so many of its lines to be counted by it.
func (r *rig) counted(name string, want uint64) File {
	r.Helper()
	files, err := r.importing(Options{Files: []string{name}})
	if err != nil {
		r.Fatal(err)
	}
	r.want += want
	if files[0].Responses != want {
		r.Errorf("%s: %+v, want %d responses", filepath.Base(name), files[0], want)
	}
	r.check()
	return files[0]
}

// check compares the rows with the expected sum, and verifies the store.
func (r *rig) check() {
	r.Helper()
	s, err := store.Open(store.Options{Dir: filepath.Join(r.cfg.Data.Dir, datadir.StoreDir), QuarantineDir: filepath.Join(r.cfg.Data.Dir, datadir.Quarantine)})
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	sum := uint64(0)
	err = s.Rows(r.Context(), 0, 1<<40, func(k stats.Key, row *stats.Row) error {
		if k.Route != stats.ImportedRoute || row.Untimed != row.Count || row.Mean() != 0 {
			r.Errorf("row %+v has %d responses, %d without a latency", k, row.Count, row.Untimed)
		}
		sum += row.Count
		return nil
	})
	totals, aggregated, accountErr := s.Account(r.Context())
	if err := errors.Join(err, accountErr); err != nil || sum != r.want || s.ImportedResponses() != r.want || aggregated != 0 || totals != (store.Totals{}) {
		r.Errorf("the rows add up to %d, the imports to %d, want %d; the accounting has %d and %+v; %v", sum, s.ImportedResponses(), r.want, aggregated, totals, err)
	}
	checks, err := s.Verify(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	for _, c := range checks {
		if c.Found > 0 {
			r.Errorf("verify: %+v", c)
		}
	}
}

// TestOnce: a file counts once, whatever its name is, compressed or not, and while it grows.
func TestOnce(t *testing.T) {
	r := newRig(t)
	first := r.counted(r.file("access.log", lines(0, 3000)), 3000)
	if first.Format != weblog.Combined || first.Lines != 3000 || first.Untimed != 3000 || !first.From.Equal(time.Date(2025, 3, 3, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", first)
	}
	r.counted(r.file("access.log", lines(0, 3000)), 0)
	r.counted(r.file("access.log.1.gz", lines(0, 3000)), 0)
	r.counted(r.file("access.log", lines(0, 4500)), 1500)
	r.counted(r.file("renamed", lines(0, 4500)+strings.TrimSuffix(lines(4500, 1), "\n")), 0)
	r.counted(r.file("renamed", lines(0, 4501)), 1)
	r.counted(r.file("access.log.2", lines(7000, 10)), 10)
	r.counted(r.file("empty", ""), 0)

	_, err := r.importing(Options{Files: []string{r.file("older", lines(0, 100))}})
	if !errors.Is(err, ErrOtherLog) {
		t.Errorf("an older copy: %v", err)
	}
	r.check()
	files, err := r.importing(Options{Files: []string{filepath.Join(r.dir, "older")}, Separate: true})
	if err != nil || files[0].Responses != 100 {
		t.Errorf("%+v, %v", files, err)
	}
	r.want += 100
	r.check()
}

// TestInterrupted: an import that is interrupted at any moment is continued.
func TestInterrupted(t *testing.T) {
	r := newRig(t)
	name := r.file("access.log", lines(0, 60_000))
	for calls := 7; ; calls++ { // 18 calls of Progress read the file three times
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		_, err := Import(ctx, r.cfg, slog.New(slog.DiscardHandler), Options{Files: []string{name}, Progress: func(int, int, string) {
			if n++; n == calls {
				cancel()
			}
		}})
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	r.want = 60_000
	r.check()
	r.counted(name, 0)
}

// TestUnreadableLines: nothing is imported unless every line can be read, or the others may be left out.
func TestUnreadableLines(t *testing.T) {
	r := newRig(t)
	text := lines(0, 5) + "nonsense\n" + lines(5, 5) + strings.Repeat("x", 2*weblog.LineBytesMax) + "\n"
	good, bad := r.file("good", lines(100, 10)), r.file("bad", text)
	files, err := r.importing(Options{Files: []string{good, bad}})
	if !errors.Is(err, ErrUnreadable) || len(files) != 2 || files[1].Unreadable != 2 || len(files[1].Problems) != 2 {
		t.Fatalf("%+v, %v", files, err)
	}
	for i, want := range []string{"line 6: ", "line 12: the line is longer than"} {
		if !strings.HasPrefix(files[1].Problems[i], want) {
			t.Errorf("%q, want %q", files[1].Problems[i], want)
		}
	}
	if _, err := os.Stat(r.cfg.Data.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data directory was made: %v", err)
	}
	if _, err := r.importing(Options{Files: []string{good, bad}, SkipUnreadable: true, DryRun: true}); err != nil {
		t.Error(err)
	}
	if _, err := r.importing(Options{Files: []string{good, bad}, SkipUnreadable: true}); err != nil {
		t.Error(err)
	}
	r.want = 20
	r.check()
	if _, err := r.importing(Options{Files: []string{r.file("other", "hello\n")}}); !errors.Is(err, weblog.ErrFormat) || !strings.Contains(err.Error(), "line 1") {
		t.Error(err)
	}
}

// TestInUse: a data directory that a wayside uses is left alone.
func TestInUse(t *testing.T) {
	r := newRig(t)
	r.counted(r.file("access.log", lines(0, 10)), 10)
	for _, name := range []string{datadir.RunLock, datadir.CollectLock} {
		lock, err := datadir.Acquire(r.cfg.Data.Dir, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.importing(Options{Files: []string{r.file("access.log.1", lines(50, 10))}}); !errors.Is(err, datadir.ErrInUse) {
			t.Errorf("%s: %v", name, err)
		}
		if err := lock.Release(); err != nil {
			t.Fatal(err)
		}
	}
	r.check()
}

// TestTemplates: imported paths get the templates of the configuration, and those that were learned are kept for the traffic that follows.
func TestTemplates(t *testing.T) {
	r := newRig(t)
	r.cfg.Paths.Templates = []string{"/{letter}/page/{number}"}
	r.counted(r.file("access.log", lines(0, 1000)), 1000)
	s, done, err := openForImport(r.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	labels := map[string]bool{}
	if err := s.Rows(t.Context(), 0, 1<<40, func(k stats.Key, _ *stats.Row) error { labels[k.Label] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(labels) != 1 || !labels["/{letter}/page/{number}"] {
		t.Errorf("labels %v", labels)
	}
	labeler, err := restoredLabeler(r.cfg, s)
	if err != nil || labeler.Usage().Rows != 1 {
		t.Errorf("%+v, %v", labeler.Usage(), err)
	}
}
