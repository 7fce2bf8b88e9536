package accounting

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

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/link/linktest"
	"github.com/wayside-proxy/wayside/spool"
)

// TestAccountingWaitsForSlowBooks: figures that do not add up yet are read again, however long the books process takes to answer.
// Both responses here take longer than retryTime.
func TestAccountingWaitsForSlowBooks(t *testing.T) {
	tr := newRig(t, t.TempDir())
	var asked atomic.Int32
	serveBooks(t, tr.admin, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(retryTime + 200*time.Millisecond)
		view := View{}
		if asked.Add(1) == 1 {
			view.Totals = Totals{Applied: 1} // belongs to an epoch that is just being retired
			view.Aggregated = 1
		}
		_ = json.NewEncoder(w).Encode(view)
	})
	a, err := tr.Answer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !a.Balanced || a.Books != "connected" || asked.Load() != 2 {
		t.Errorf("after %d questions: %+v", asked.Load(), a)
	}
}

// rig is a joiner over an empty spool, with the server through which it queries the books process.
type rig struct {
	*Joiner
	spool *spool.Set
	admin *admin.Server
}

func newRig(t *testing.T, dir string) *rig {
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
	a := admin.New(admin.Options{Logger: log})
	ask := func(ctx context.Context) ([]byte, error) {
		return a.AskBooks(ctx, http.MethodGet, admin.InternalPrefix+"view")
	}
	return &rig{Joiner: &Joiner{Spools: s, Ask: ask}, spool: s, admin: a}
}

func recordTen(t *testing.T, tr *rig) {
	t.Helper()
	for range 10 {
		if _, refusal := tr.spool.TryAppend(&event.Event{Kind: event.KindRequest, Status: 200, Method: []byte("GET"), Path: []byte("/")}); refusal != spool.Accepted {
			t.Fatal(refusal)
		}
	}
}

// TestRetiredSinceTheLastView: an epoch whose spool was removed after the last view of the books process is neither among
// the spools nor in the view, but must still count.
func TestRetiredSinceTheLastView(t *testing.T) {
	dir := t.TempDir()
	dead := newRig(t, dir)
	recordTen(t, dead)
	epoch := dead.spool.Epoch()
	if err := dead.spool.Close(); err != nil {
		t.Fatal(err)
	}
	tr := newRig(t, dir)
	serveBooks(t, tr.admin, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(View{Applied: map[uuid.UUID]uint64{epoch: 10}, Totals: Totals{Applied: 10}, Aggregated: 10})
	})
	want := func(when string) {
		t.Helper()
		a, err := tr.Answer(t.Context())
		if err != nil || !a.Balanced || a.Recorded != 10 || a.Responses != 10 || a.Applied != 10 || a.Spooled != 0 {
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
	want("with the books process unavailable")
}

// TestRetiredUnknownToTheLastView: an epoch that a books process drained and retired before it was killed must count,
// even if the last view of that process does not have it because there was no view yet, or because another process used
// the epoch's folder at the time.
func TestRetiredUnknownToTheLastView(t *testing.T) {
	for _, viewed := range []bool{false, true} {
		dir := t.TempDir()
		dead := newRig(t, dir)
		recordTen(t, dead)
		epoch := dead.spool.Epoch()
		tr := newRig(t, dir)
		if viewed {
			serveBooks(t, tr.admin, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(View{}) })
			if a, err := tr.Answer(t.Context()); err != nil || a.Responses != 0 || a.Books != "connected" {
				t.Fatalf("%+v, %v", a, err)
			}
		}
		if err := dead.spool.Close(); err != nil {
			t.Fatal(err)
		}
		waitForEpoch(t, tr.spool, epoch)
		if err := tr.spool.Ack(t.Context(), epoch, 10); err != nil {
			t.Fatal(err)
		}
		if err := tr.spool.Retire(t.Context(), epoch); err != nil {
			t.Fatal(err)
		}
		tr.admin.SetBooks(nil)
		a, err := tr.Answer(t.Context())
		if err != nil || !a.Balanced || a.Responses != 10 || a.Recorded != 10 || a.Applied != 10 || a.Settled {
			t.Errorf("a view was given before: %t: %v, %+v", viewed, err, a)
		}
	}
}

// waitForEpoch waits until a spool has taken over the folder of an epoch.
func waitForEpoch(t *testing.T, s *spool.Set, epoch uuid.UUID) {
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

// TestNothingIsKnownOfTheStore: as long as no books process has sent its figures, zeros count as settled only if there
// was no store.
func TestNothingIsKnownOfTheStore(t *testing.T) {
	for _, had := range []bool{false, true} {
		tr := newRig(t, t.TempDir())
		tr.HadStore = had
		a, err := tr.Answer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if a.Responses != 0 || a.Settled == had || strings.Contains(a.Books, "are missing here") != had {
			t.Errorf("a store was there: %t: %+v", had, a)
		}
	}
}

// serveBooks plays the books process, with responses that a real one cannot be made to send.
func serveBooks(t *testing.T, s *admin.Server, handler http.HandlerFunc) {
	t.Helper()
	dialer, _ := linktest.Serve(t, handler)
	s.SetBooks(dialer)
}
