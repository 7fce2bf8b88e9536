package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/testlog"
	"github.com/wayside-proxy/wayside/uploader"
)

// ages is a wayside whose spool.age_max is one minute, the minimum. It is built with the tag faults, so that the test
// can move its clock.
type ages struct {
	*Wayside
	t      *testing.T
	log    *testlog.Buffer
	offset string // file that says how far the clock is ahead
	ahead  time.Duration
	sent   uint64
}

func newAges(t *testing.T) *ages {
	t.Helper()
	w, log := newWayside(t, origin(t))
	var err error
	if w.Binary, err = Build(t.Context(), t.TempDir(), "-tags", "faults"); err != nil {
		t.Fatal(err)
	}
	return &ages{Wayside: w, t: t, log: log, offset: filepath.Join(t.TempDir(), "offset")}
}

// live starts wayside, with or without a books process. With spool.sync: request, a response that was received is
// already in the queue, where its age starts to count.
func (a *ages) live(books bool) {
	a.t.Helper()
	a.Env = []string{
		"WAYSIDE_SPOOL_AGE_MAX=1m", "WAYSIDE_SPOOL_SYNC=request", "WAYSIDE_FAULT_CLOCK=" + a.offset, "WAYSIDE_ARCHIVE_SCHEDULE=@every 10h",
		"WAYSIDE_COLLECTOR_DRAIN_INTERVAL=100ms", fmt.Sprintf("WAYSIDE_COLLECTOR_ENABLED=%t", books),
	}
	start(a.t, a.Wayside)
}

// send sends n more requests with new nonces.
func (a *ages) send(n uint64) {
	a.t.Helper()
	report, err := load.Run(a.t.Context(), load.Options{Address: a.Listen, Connections: 2, Requests: n, FirstNonce: a.sent})
	if err != nil || report.Received != n {
		a.t.Fatalf("%v, %v", report, err)
	}
	a.sent += n
}

// pass moves the clock of wayside forward.
func (a *ages) pass(d time.Duration) {
	a.t.Helper()
	a.ahead += d
	aside := a.offset + ".new"
	err := os.WriteFile(aside, []byte(a.ahead.String()), 0o600)
	if err == nil {
		err = os.Rename(aside, a.offset)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// expire moves the clock forward by the age limit, and waits until that many responses are dropped.
func (a *ages) expire(dropped uint64) {
	a.t.Helper()
	a.pass(61 * time.Second)
	eventually(a.t, fmt.Sprintf("%d responses expire", dropped), func() bool { return a.account().Dropped["age"] == dropped })
}

// account returns the accounting, which must add up.
func (a *ages) account() Accounting {
	a.t.Helper()
	figures, err := a.Accounting(a.t.Context())
	if err == nil {
		err = figures.Check()
	}
	if err != nil {
		a.t.Fatalf("%+v: %v", figures, err)
	}
	return figures
}

// want checks the numbers of expired and of waiting responses, and that there are no other drops.
func (a *ages) want(when string, dropped, spooled uint64) {
	a.t.Helper()
	f := a.account()
	if f.Responses != a.sent || f.Dropped["age"] != dropped || f.DroppedTotal() != dropped || f.Spooled != spooled || f.Recorded != a.sent-dropped {
		a.t.Errorf("%s, want %d responses, %d expired, %d waiting: %+v", when, a.sent, dropped, spooled, f)
	}
}

// hasMetric reports whether the metrics contain a line.
func (a *ages) hasMetric(metric string) bool {
	a.t.Helper()
	text, err := a.Ask(a.t.Context(), http.MethodGet, "/metrics")
	if err != nil {
		a.t.Fatal(err)
	}
	return strings.Contains(string(text), "\n"+metric+"\n")
}

func (a *ages) wantMetric(line string) {
	a.t.Helper()
	if !a.hasMetric(line) {
		a.t.Errorf("the metrics do not contain %s", line)
	}
}

// wantLogged waits until a line of the log contains all parts.
func (a *ages) wantLogged(parts ...string) {
	a.t.Helper()
	eventually(a.t, fmt.Sprintf("a line of the log contains %q", parts), func() bool {
		for line := range strings.Lines(a.log.String()) {
			missing := false
			for _, part := range parts {
				missing = missing || !strings.Contains(line, part)
			}
			if !missing {
				return true
			}
		}
		return false
	})
}

// TestAgeOfTheSpool lets events wait longer than spool.age_max. They must expire and be counted exactly, in the
// accounting, metrics, log and drop records. This includes the events of an earlier process, and must hold after a
// kill. Later events must be delivered.
func TestAgeOfTheSpool(t *testing.T) {
	t.Parallel()
	a := newAges(t)
	a.live(false)
	a.send(70)
	a.Kill()

	a.pass(time.Hour) // no process is running during this time
	a.live(false)
	a.send(100)
	a.want("before its time", 0, 170)
	a.expire(170)
	a.want("after it", 170, 0)
	a.wantMetric(`wayside_spool_dropped_total{reason="age"} 100`) // counts only the current epoch
	a.wantMetric("wayside_spool_given_up_total 170")
	a.wantLogged("responses are being dropped from the books; they are counted as dropped", `"since_start_age":100`)
	a.wantLogged("left by an earlier process have waited too long", `"responses":70,`)
	a.send(30)
	a.want("with more", 170, 30)
	eventually(t, "30 responses wait in the queues, and a drop record of each process", func() bool { return a.hasMetric("wayside_spool_pending_events 32") })
	a.Kill()

	a.live(true)
	a.send(40)
	settled, err := a.AwaitSettled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a.want("after kill -9, and with a books process", 170, 0)
	if settled.Applied != 70 {
		t.Errorf("%d applied, want 70: %+v", settled.Applied, settled)
	}
	if _, err := a.Ask(t.Context(), http.MethodPost, "/-/job/archive?all=true"); err != nil {
		t.Fatal(err)
	}
	target, err := uploader.OpenTarget(t.Context(), filepath.Join(a.DataDir, "archive"), uploader.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	books, err := ReadBooks(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	if books.Lines != 70 || books.Doubled != 0 || books.Foreign != 0 || books.Dropped != 170 {
		t.Errorf("%d lines, %d doubled, %d foreign, %d reported as dropped", books.Lines, books.Doubled, books.Foreign, books.Dropped)
	}
	for nonce := range a.sent {
		if books.Nonces.Has(nonce) != (nonce >= 170) {
			t.Errorf("nonce %d is in the books: %t", nonce, nonce < 170)
		}
	}
	verified(t, a.Wayside)
}
