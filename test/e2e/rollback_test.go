package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wayside-proxy/wayside/internal/event"
)

// newerBinary builds a wayside that writes event records of the next version.
func newerBinary(t *testing.T) string {
	t.Helper()
	source, err := filepath.Abs(filepath.Join("..", "..", "internal", "event", "binary.go"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	newer := string(text)
	for _, line := range []string{"\tVersion          = 5\n", "\tversionWithID    = 2\n"} {
		if !strings.Contains(newer, line) {
			t.Fatalf("%s has no %q", source, line)
		}
		name, _, _ := strings.Cut(line, "=")
		newer = strings.Replace(newer, line, name+"= 6\n", 1)
	}
	dir := t.TempDir()
	replacement, overlay := filepath.Join(dir, "binary.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{source: replacement}})
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{replacement: newer, overlay: string(list)} {
		if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := Build(t.Context(), dir, "-overlay", overlay)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// TestEventsSurviveARollback runs an older wayside on a spool that has events of a newer one. The older one must record
// and apply its own events, and must report and count the others. When the newer one runs again, it must have all
// events exactly once.
func TestEventsSurviveARollback(t *testing.T) {
	t.Parallel()
	if event.Version != 5 {
		t.Fatal("newerBinary can only change version 5 to 6")
	}
	w, log := newWayside(t, origin(t))
	w.Env = []string{"WAYSIDE_RECORD_REQUEST_ID=true"} // newerBinary writes events with a request ID in its newest version
	older, newer := w.Binary, newerBinary(t)
	w.Binary = newer
	start(t, w)
	signalBooks(t, w, syscall.SIGSTOP)
	send(t, w, 300, 200)
	books := w.BooksPID()
	w.Kill()
	if err := syscall.Kill(books, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	w.Binary = older
	start(t, w)
	send(t, w, 50, 200)
	eventually(t, "the older wayside applies its own events", func() bool {
		a, err := w.Accounting(t.Context())
		if err == nil {
			err = a.Check()
		}
		return err == nil && a.Recorded == 350 && a.Applied == 50 && a.Spooled == 300 && a.Quarantined == 0 && a.DroppedTotal() == 0 && !a.Settled
	})
	ready, err := w.Ask(t.Context(), http.MethodGet, "/readyz?verbose")
	if err != nil || !strings.Contains(string(ready), "[!] spool: 300 events waiting") || !strings.Contains(string(ready), "1 epoch of a newer wayside") {
		t.Errorf("%v\n%s", err, ready)
	}
	if n := metric(t, w, "wayside_spool_newer_epochs"); n != 1 {
		t.Errorf("the metric is %d, want 1", n)
	}
	if err := w.Stop(ReadyTimeout); err != nil {
		t.Errorf("the older wayside ends with %v", err)
	}
	if n := strings.Count(log.String(), "an epoch was recorded by a newer version of wayside"); n != 1 {
		t.Errorf("the log reports it %d times, want once", n)
	}
	if code, output := command(t, w, "verify"); code != 1 || !strings.Contains(output, event.ErrVersion.Error()) {
		t.Errorf("verify: %d\n%s", code, output)
	}

	w.Binary = newer
	start(t, w)
	if a, err := w.AwaitSettled(t.Context()); err != nil || a.Applied != 350 || a.Recorded != 350 || a.Quarantined != 0 {
		t.Errorf("%+v, %v", a, err)
	}
}
