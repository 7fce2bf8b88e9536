package collector

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/accounting"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool"
)

// stuckSpool is a spool that cannot retire epochs.
type stuckSpool struct{ *spool.Set }

func (stuckSpool) Retire(context.Context, uuid.UUID) error { return errInjected }

func (r *rig) openSpool(t *testing.T) *spool.Set {
	t.Helper()
	s, err := spool.Open(spool.Options{
		Dir: r.dir + "/spool", QuarantineDir: r.dir + "/quarantine", SegmentBytes: 64 << 10, Segments: 4, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestStoreLostWithALedgerAndItsSpool: a process died after it had stored the ledger of an epoch but before it had
// removed the spool, and then the store is lost too. The epoch must count once, even if the spool has lost its
// acknowledgments. The same applies to an epoch without a spool.
func TestStoreLostWithALedgerAndItsSpool(t *testing.T) {
	for name, unacknowledged := range map[string]bool{"acknowledged": false, "not acknowledged": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			appendTo := func(s *spool.Set, n int) {
				var e event.Event
				err := e.Decode(r.request("/a", 200))
				for range n {
					if _, refused := s.TryAppend(&e); err != nil || refused != spool.Accepted {
						t.Fatal(err, refused)
					}
				}
			}
			life := func(appended int, wrap func(*spool.Set) spool.Source) accounting.Accounting {
				t.Helper()
				s := r.openSpool(t)
				r.reopen(t, func(o *Options) { o.Source = wrap(s) })
				appendTo(s, appended)
				if err := s.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := r.Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
				view, err := r.View(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				ledgers, err := s.Ledgers(t.Context(), view.Applied)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				return accounting.Account(ledgers, &view)
			}
			plain := func(s *spool.Set) spool.Source { return s }
			life(30, plain) // the next life removes its spool
			s := r.openSpool(t)
			appendTo(s, 100)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			before := filepath.Join(t.TempDir(), "spool")
			if err := os.CopyFS(before, os.DirFS(r.dir+"/spool")); err != nil {
				t.Fatal(err)
			}
			if a := life(0, func(s *spool.Set) spool.Source { return stuckSpool{s} }); !a.Settled || a.Applied != 130 {
				t.Fatalf("%+v", a)
			}
			if n := len(r.store.Ledgers()); n < 2 {
				t.Fatalf("%d ledgers", n)
			}
			if err := r.store.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(r.dir + "/store"); err != nil {
				t.Fatal(err)
			}
			if unacknowledged {
				if err := os.RemoveAll(r.dir + "/spool"); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(before, r.dir+"/spool"); err != nil {
					t.Fatal(err)
				}
			}
			for again := range 2 {
				want := uint64(137 + 7*again)
				if a := life(7, plain); !a.Settled || a.Responses != want || a.Applied != want-130 || a.Quarantined != 130 {
					t.Errorf("%+v", a)
				}
			}
		})
	}
}
