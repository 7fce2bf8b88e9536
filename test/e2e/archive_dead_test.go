package e2e

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestDeadArchive: an archive that cannot be used is noticed at the start and shown, a job by hand fails, and a shutdown neither waits
// for it to the end of its time nor loses anything.
func TestDeadArchive(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!DOCTYPE html><html>a router's page</html>"))
	}))
	t.Cleanup(page.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, c := range map[string]struct{ archive, says string }{
		"nobody answers": {"s3://bkt/p?endpoint=" + gone.URL, "nothing answers there"},
		"no S3":          {"s3://bkt/p?endpoint=" + page.URL, "does not speak S3: HTTP 200 text/html"},
	} {
		t.Run(name, func(t *testing.T) {
			// Much more time than anybody waits for: a shutdown that takes all of it is killed by Stop.
			w, log := newWayside(t, origin(t), "--archive", c.archive)
			w.Env = []string{"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "WAYSIDE_SHUTDOWN_TIMEOUT=10m"}
			start(t, w)
			eventually(t, "the log and /readyz?verbose say so", func() bool {
				ready, err := w.Ask(t.Context(), http.MethodGet, "/readyz?verbose")
				return err == nil && strings.Contains(string(ready), "[!] archive") && strings.Contains(string(ready), c.says) && strings.Contains(log.String(), c.says)
			})
			out, err := exec.Command(w.Binary, "job", "archive", "--data", w.DataDir).CombinedOutput() //nolint:gosec // the binary under test
			if err == nil || !strings.Contains(string(out), c.says) || !strings.Contains(string(out), "the job failed: ") {
				t.Errorf("a job with nothing to archive: %v\n%s", err, out)
			}
			metrics, err := w.Ask(t.Context(), http.MethodGet, "/metrics")
			if err != nil || !strings.Contains(string(metrics), "wayside_archive_last_success_timestamp_seconds 0\n") {
				t.Errorf("the job counts as a success: %v", err)
			}
			send(t, w, 200, 200)
			if err := w.Stop(2 * time.Minute); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(log.String(), `"unarchived":200`) {
				t.Error("the log does not say how much remains")
			}
			for line := range strings.Lines(log.String()) {
				if !strings.HasPrefix(line, "{") || strings.Contains(line, `\n`) {
					t.Errorf("not a line of its own: %s", line)
				}
			}
			if strings.Contains(log.String(), "router's page") {
				t.Error("a foreign page is in the log")
			}
			w.Args = w.Args[:2] // the local archive
			start(t, w)
			if err := w.Stop(time.Minute); err != nil {
				t.Fatal(err)
			}
			if text := log.String(); !strings.Contains(text[strings.LastIndex(text, `"unarchived":200`):], `"unarchived":0`) {
				t.Error("what remained was not archived by the next run")
			}
		})
	}
}
