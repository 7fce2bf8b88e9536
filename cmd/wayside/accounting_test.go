package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/link/linktest"
	"github.com/wayside-proxy/wayside/proxy"
	"github.com/wayside-proxy/wayside/spool"
)

// TestAccountingWaitsForSlowBooks: figures that do not add up yet are read again, however long each answer of the books process
// took. Both answers here take longer than figures are read again for.
func TestAccountingWaitsForSlowBooks(t *testing.T) {
	tr := accountant(t)
	var asked atomic.Int32
	serveBooks(t, tr.admin, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(accountingWait + 200*time.Millisecond)
		view := collector.View{}
		if asked.Add(1) == 1 {
			view.Totals = store.Totals{Applied: 1} // of an epoch that is just being retired
			view.Aggregated = 1
		}
		_ = json.NewEncoder(w).Encode(view)
	})
	figures, err := tr.accounting(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a := figures.(answer); !a.Balanced || a.Books != "connected" || asked.Load() != 2 {
		t.Errorf("after %d questions: %+v", asked.Load(), a)
	}
}

// accountant is a traffic process as far as accounting needs one, with an empty spool.
func accountant(t *testing.T) *traffic {
	t.Helper()
	return accountantIn(t, t.TempDir())
}

func accountantIn(t *testing.T, dir string) *traffic {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := spool.Open(spool.Options{
		Dir: filepath.Join(dir, "spool"), QuarantineDir: filepath.Join(dir, "quarantine"), SegmentBytes: 64 << 10, Segments: 4,
		CommitInterval: 5 * time.Millisecond, QueueBytesMax: 1 << 20, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	cfg := configs.Default()
	cfg.Upstream = "http://127.0.0.1:1"
	p, err := proxy.New(proxyOptions(&cfg, recorderFor(s), log))
	if err != nil {
		t.Fatal(err)
	}
	return &traffic{cfg: &cfg, log: log, spool: s, proxy: p, admin: admin.New(admin.Options{Logger: log})}
}

func recordTen(t *testing.T, tr *traffic) {
	t.Helper()
	for range 10 {
		if _, refusal := tr.spool.TryAppend(&event.Event{Kind: event.KindRequest, Status: 200, Method: []byte("GET"), Path: []byte("/")}); refusal != spool.Accepted {
			t.Fatal(refusal)
		}
	}
}

// TestRetiredSinceTheLastView: an epoch whose spool was removed after the books process gave its figures for the last time is in
// neither, and counts all the same.
func TestRetiredSinceTheLastView(t *testing.T) {
	dir := t.TempDir()
	dead := accountantIn(t, dir)
	recordTen(t, dead)
	epoch := dead.spool.Epoch()
	if err := dead.spool.Close(); err != nil {
		t.Fatal(err)
	}
	tr := accountantIn(t, dir)
	serveBooks(t, tr.admin, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(collector.View{Applied: map[uuid.UUID]uint64{epoch: 10}, Totals: store.Totals{Applied: 10}, Aggregated: 10})
	})
	want := func(when string) {
		t.Helper()
		figures, err := tr.accounting(t.Context())
		if a := figures.(answer); err != nil || !a.Balanced || a.Recorded != 10 || a.Responses != 10 || a.Applied != 10 || a.Spooled != 0 {
			t.Errorf("%s: %v, %+v", when, err, a)
		}
	}
	want("before")
	if err := tr.spool.Ack(t.Context(), epoch, 10); err != nil {
		t.Fatal(err)
	}
	if err := tr.spool.Retire(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
	tr.admin.SetBooks(nil)
	want("with the books process away")
}

// TestRetiredUnknownToTheLastView: an epoch counts that was drained, and whose spool was removed, by a books process that has died
// since and whose last figures tell nothing of it: there were none yet, or its folder was in use by another process when they
// were asked for.
func TestRetiredUnknownToTheLastView(t *testing.T) {
	for _, viewed := range []bool{false, true} {
		dir := t.TempDir()
		dead := accountantIn(t, dir)
		recordTen(t, dead)
		epoch := dead.spool.Epoch()
		tr := accountantIn(t, dir)
		if viewed {
			serveBooks(t, tr.admin, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(collector.View{}) })
			if figures, err := tr.accounting(t.Context()); err != nil || figures.(answer).Responses != 0 || figures.(answer).Books != "connected" {
				t.Fatalf("%+v, %v", figures, err)
			}
		}
		if err := dead.spool.Close(); err != nil {
			t.Fatal(err)
		}
		adopted(t, tr.spool, epoch)
		if err := tr.spool.Ack(t.Context(), epoch, 10); err != nil {
			t.Fatal(err)
		}
		if err := tr.spool.Retire(t.Context(), epoch); err != nil {
			t.Fatal(err)
		}
		tr.admin.SetBooks(nil)
		figures, err := tr.accounting(t.Context())
		if a := figures.(answer); err != nil || !a.Balanced || a.Responses != 10 || a.Recorded != 10 || a.Applied != 10 || a.Settled {
			t.Errorf("a view was given before: %t: %v, %+v", viewed, err, a)
		}
	}
}

// adopted waits until a spool has taken the folder that an epoch left.
func adopted(t *testing.T, s *spool.Set, epoch uuid.UUID) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	deadline := time.Now().Add(20 * time.Second)
	for found := false; !found && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		ledgers, err := s.Ledgers(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		found = slices.ContainsFunc(ledgers, func(l spool.Ledger) bool { return l.Epoch == epoch })
	}
	cancel()
	<-ended
}

// TestNothingIsKnownOfTheStore: while no books process has ever said what the store holds, zeros are settled only where there was
// none.
func TestNothingIsKnownOfTheStore(t *testing.T) {
	for _, had := range []bool{false, true} {
		tr := accountant(t)
		tr.hadStore = had
		figures, err := tr.accounting(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if a := figures.(answer); a.Responses != 0 || a.Settled == had || strings.Contains(a.Books, "is missing here") != had {
			t.Errorf("a store was there: %t: %+v", had, a)
		}
	}
}

// serveBooks stands in for a books process, for answers that a real one cannot be made to give at will.
func serveBooks(t *testing.T, s *admin.Server, handler http.HandlerFunc) {
	t.Helper()
	dialer, _ := linktest.Serve(t, handler)
	s.SetBooks(dialer)
}
