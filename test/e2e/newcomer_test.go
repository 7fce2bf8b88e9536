package e2e

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/test/loopback"
)

// TestNewcomer does what a new user does in the first minutes, and checks that the messages are helpful.
func TestNewcomer(t *testing.T) {
	t.Parallel()
	w, log := newWayside(t, origin(t))
	start(t, w)
	send(t, w, 24, 200)
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	code, out, errs := archiveCommand(t, w, nil, "job", "archive", "--data", w.DataDir)
	if code != 0 || !strings.Contains(out, "archive: 0 objects, 0 rows, 0 bytes") ||
		!strings.Contains(errs, "24 events are younger than archive.after (1h); --all archives them too") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	code, _, errs = archiveCommand(t, w, nil, "archive", "rebuild", "--data", w.DataDir)
	if code != 75 || !strings.Contains(errs, "wayside is using "+w.DataDir+" (pid "+strconv.Itoa(w.PID())) {
		t.Errorf("exit %d\n%s", code, errs)
	}
	code, out, errs = archiveCommand(t, w, nil, "job", "archive", "--all", "--data", w.DataDir)
	if code != 0 || !strings.Contains(out, "archive: 1 object, 24 rows, ") || strings.Contains(errs, "younger") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	name, err := exec.Command("ps", "-o", "comm=,args=", "-p", strconv.Itoa(w.BooksPID())).Output()
	if err != nil || !strings.HasPrefix(string(name), filepath.Base(w.Binary)[:min(15, len(filepath.Base(w.Binary)))]) || !strings.Contains(string(name), w.Binary+" collect") {
		t.Errorf("the books process has the name %q, %v", name, err)
	}
	if err := w.Stop(time.Minute); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); strings.Contains(text, "EOF") || strings.Contains(text, `"level":"WARN"`) {
		t.Errorf("a run without trouble:\n%s", text)
	}
}

// TestReadyIsFound: as soon as /readyz returns 200, commands find the process by its data directory, because scripts wait for /readyz
// before they use other commands.
func TestReadyIsFound(t *testing.T) {
	t.Parallel()
	admin := loopback.Free(t)
	w, _ := newWayside(t, origin(t), "--admin", admin)
	found := make(chan error, 1)
	go func() {
		for t.Context().Err() == nil {
			resp, err := http.Get("http://" + admin + "/readyz")
			if err != nil {
				continue
			}
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				_, err = datadir.ReadInfo(w.DataDir)
				found <- err
				return
			}
		}
	}()
	start(t, w)
	if err := <-found; err != nil {
		t.Error(err)
	}
}

// TestUpstreamAway starts wayside without an upstream. The log and /readyz?verbose must report this, and wayside must
// be ready.
func TestUpstreamAway(t *testing.T) {
	t.Parallel()
	address := loopback.Free(t)
	w, log := newWayside(t, "http://"+address)
	start(t, w)
	eventually(t, "the log and /readyz?verbose report it", func() bool {
		ready, err := w.Ask(t.Context(), http.MethodGet, "/readyz?verbose")
		return err == nil && strings.Contains(string(ready), "[!] upstream: ") && strings.Contains(string(ready), "connection refused; no success since ") &&
			strings.HasSuffix(string(ready), "ok\n") && strings.Contains(log.String(), "cannot reach the upstream")
	})
}
