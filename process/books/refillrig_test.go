package books

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/accounting"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/spool"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// life is one run of wayside on a data directory, with a spool and its books in the same process.
type life struct {
	*books
	spool *spool.Set
	dir   string
}

// refillRig makes data directories that contain the traffic of several lives.
type refillRig struct {
	t        *testing.T
	r        *rand.Rand
	recorded uint64    // number of responses in all lives
	now      time.Time // time of the next response
}

func newRefillRig(t *testing.T, seed uint64) *refillRig {
	return &refillRig{t: t, r: rand.New(rand.NewPCG(seed, 11)), now: time.Now().UTC().Add(-5 * time.Hour)}
}

func (g *refillRig) must(errs ...error) {
	g.t.Helper()
	if err := errors.Join(errs...); err != nil {
		g.t.Fatal(err)
	}
}

// open begins a life.
func (g *refillRig) open(dir string) *life {
	g.t.Helper()
	cfg, err := configs.Load(configs.LoadOptions{Flags: map[string]string{"data.dir": dir, "data.free_min": "0", "archive.after": "0s"}})
	g.must(err)
	set, err := spool.Open(spool.Options{
		Dir: filepath.Join(dir, datadir.SpoolDir), QuarantineDir: filepath.Join(dir, datadir.Quarantine),
		SegmentBytes: 64 << 10, Segments: 4, Logger: slog.New(slog.DiscardHandler),
	})
	g.must(err)
	b, err := open(g.t.Context(), cfg, set, slog.New(slog.DiscardHandler))
	g.must(err)
	return &life{books: b, spool: set, dir: dir}
}

// end ends a life with an orderly shutdown.
func (g *refillRig) end(l *life) {
	g.t.Helper()
	g.must(l.close(), l.spool.Close())
}

// killed copies the data directory in the state in which a kill would leave it now.
func (g *refillRig) killed(l *life) (dir string) {
	g.t.Helper()
	dir = filepath.Join(g.t.TempDir(), "data")
	g.must(os.CopyFS(dir, os.DirFS(l.dir)))
	return dir
}

// request records some responses, a few minutes apart from each other.
func (g *refillRig) request(l *life, n int) {
	g.t.Helper()
	for range n {
		g.now = g.now.Add(time.Duration(g.r.IntN(20)) * time.Second)
		e := event.Event{
			TimeMicros: g.now.UnixMicro(), Kind: event.KindRequest, Status: 200, DurationMicros: uint64(g.r.IntN(5000)), ResponseBytes: 7,
			Method: []byte("GET"), Host: []byte("shop.test"), Path: fmt.Appendf(nil, "/%c/%c", 'a'+g.r.IntN(5), 'a'+g.r.IntN(4)),
		}
		if g.r.IntN(8) == 0 { // a request that was not understood
			e.Status, e.Method, e.Host, e.Path, e.ErrorType = 400, nil, nil, nil, []byte("bad_request")
		}
		if _, refused := l.spool.TryAppend(&e); refused != spool.Accepted {
			g.t.Fatal(refused)
		}
		g.recorded++
	}
	g.must(l.spool.Flush(g.t.Context()))
}

func (g *refillRig) drain(l *life) {
	g.t.Helper()
	g.must(l.collector.Drain(g.t.Context()))
}

func (g *refillRig) archive(l *life) {
	g.t.Helper()
	_, err := l.uploader.ArchiveOnce(g.t.Context(), true)
	g.must(err)
}

// history makes a directory with some finished lives and a current one. Some events are archived, some are archived and deleted locally,
// some are neither. Some are applied, or even archived, but not acknowledged.
func (g *refillRig) history() (dir string) {
	g.t.Helper()
	dir = filepath.Join(g.t.TempDir(), "data")
	lives := 2 + g.r.IntN(2)
	for n := range lives {
		l := g.open(dir)
		for round := range 3 {
			g.request(l, 50+g.r.IntN(200))
			g.drain(l)
			if n+round == 0 || g.r.IntN(3) > 0 {
				g.archive(l)
			}
			if g.r.IntN(3) == 0 {
				_, err := l.uploader.CleanOnce(g.t.Context())
				g.must(err)
			}
		}
		if n == lives-1 {
			dir = g.unacknowledged(l)
		}
		g.end(l)
	}
	return dir
}

// unacknowledged returns the directory as a kill would leave it after the last events have been applied and before they have been acknowledged.
// In half of the cases they have even been archived.
func (g *refillRig) unacknowledged(l *life) string {
	g.t.Helper()
	g.request(l, 120)
	before := filepath.Join(g.t.TempDir(), "spool")
	g.must(os.CopyFS(before, os.DirFS(filepath.Join(l.dir, datadir.SpoolDir))))
	g.drain(l)
	if g.r.IntN(2) == 0 {
		g.archive(l)
	}
	dir := g.killed(l)
	at := filepath.Join(dir, datadir.SpoolDir)
	g.must(os.RemoveAll(at), os.CopyFS(at, os.DirFS(before)))
	return dir
}

// damage damages a store so badly that it must be set aside.
func (g *refillRig) damage(dir string) {
	g.t.Helper()
	at := filepath.Join(dir, datadir.StoreDir)
	switch g.r.IntN(4) {
	case 0:
		g.must(os.RemoveAll(at))
	case 1:
		g.must(store.Condemn(at, "a test says so"))
	case 2:
		g.must(os.WriteFile(filepath.Join(at, "MANIFEST"), []byte("none"), 0o600))
	default:
		tables, err := filepath.Glob(filepath.Join(at, "*.sst"))
		g.must(err)
		if len(tables) == 0 {
			g.must(os.RemoveAll(at))
			return
		}
		name := tables[g.r.IntN(len(tables))]
		body, err := os.ReadFile(name)
		g.must(err)
		body[g.r.IntN(len(body))] ^= 1 << g.r.IntN(8)
		g.must(os.WriteFile(name, body, 0o600))
	}
}

// rows returns all rows of the store, encoded.
func (g *refillRig) rows(l *life) map[stats.Key]string {
	g.t.Helper()
	out := map[stats.Key]string{}
	g.must(l.store.Rows(g.t.Context(), 0, 1<<40, func(k stats.Key, row *stats.Row) error {
		body, err := row.AppendBinary(nil)
		out[k] = string(body)
		return err
	}))
	return out
}

// promises checks the promises that must hold at any time, and returns the figures.
func (g *refillRig) promises(l *life) accounting.Accounting {
	g.t.Helper()
	view, err := l.collector.View(g.t.Context())
	g.must(err)
	ledgers, err := l.spool.Ledgers(g.t.Context(), view.Applied)
	g.must(err)
	a := accounting.Account(ledgers, &view)
	if !a.Balanced || a.Responses != g.recorded {
		g.t.Errorf("%d recorded: %+v", g.recorded, a)
	}
	keys := map[string]bool{}
	g.must(plansOf(g.t.Context(), l.store, func(p *catalogue.Plan) error {
		if keys[p.Key] {
			g.t.Errorf("%s is in the catalogue twice", p.Key)
		}
		keys[p.Key] = true
		return nil
	}))
	checks, err := l.store.Verify(g.t.Context())
	g.must(err)
	for _, c := range checks {
		if c.Found > 0 {
			g.t.Errorf("%s: %s", c.Name, strings.Join(c.Problems, "; "))
		}
	}
	return a
}

// complete archives the rest. It checks that the rows contain every response in the archive exactly once and no others, and that exactly the
// remaining responses count as quarantined.
func (g *refillRig) complete(l *life) {
	g.t.Helper()
	g.drain(l)
	g.archive(l)
	a := g.promises(l)
	count, err := uploader.CountTarget(g.t.Context(), l.targets.Current())
	g.must(err)
	if count.Lines != count.Distinct {
		g.t.Errorf("the archive has %d lines of %d events", count.Lines, count.Distinct)
	}
	if held := uint64(count.Rows); !a.Settled || a.Applied != held || a.Archived != held || a.Quarantined != g.recorded-held {
		g.t.Errorf("the archive has %d of %d responses: %+v", held, g.recorded, a)
	}
	want := map[stats.Key]string{}
	_, err = reader.Rebuild(g.t.Context(), l.targets.Current(), reader.RebuildOptions{From: reader.FromEvents, Hour: func(keys []stats.Key, rows []*stats.Row) error {
		for i, k := range keys {
			body, _ := rows[i].AppendBinary(nil)
			want[k] = string(body)
		}
		return nil
	}})
	g.must(err)
	got := g.rows(l)
	for k := range want {
		if want[k] != got[k] {
			g.t.Errorf("row %+v is not what the archive has", k)
		}
	}
	if len(want) != len(got) {
		g.t.Errorf("%d rows, the archive has %d", len(got), len(want))
	}
}

// trials returns the number of stores to damage. WAYSIDE_REFILL_TRIALS changes it.
func trials(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("WAYSIDE_REFILL_TRIALS")
	if text == "" {
		return 12
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
