package e2e

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestDeadArchive runs wayside with an archive that cannot be used. wayside must report this at the start, and a manual job must
// fail. A shutdown must not use up its whole time waiting for the archive, and must lose nothing.
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
		"nothing answers": {"s3://bkt/p?endpoint=" + gone.URL, "nothing responds at this address"},
		"no S3":           {"s3://bkt/p?endpoint=" + page.URL, "does not speak S3: HTTP 200 text/html"},
	} {
		t.Run(name, func(t *testing.T) {
			// The timeout is much longer than the wait in Stop, which kills a shutdown that uses all of the timeout.
			w, log := newWayside(t, origin(t), "--archive", c.archive)
			w.Env = []string{"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "WAYSIDE_SHUTDOWN_TIMEOUT=10m"}
			start(t, w)
			eventually(t, "the log and /readyz?verbose report it", func() bool {
				ready, err := w.Ask(t.Context(), http.MethodGet, "/readyz?verbose")
				return err == nil && strings.Contains(string(ready), "[!] archive") && strings.Contains(string(ready), c.says) && strings.Contains(log.String(), c.says)
			})
			out, err := exec.Command(w.Binary, "job", "archive", "--data", w.DataDir).CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.says) || !strings.Contains(string(out), "the job failed: ") {
				t.Errorf("a manual job: %v\n%s", err, out)
			}
			metrics, err := w.Ask(t.Context(), http.MethodGet, "/metrics")
			if err != nil || !strings.Contains(string(metrics), "wayside_archive_last_success_timestamp_seconds 0\n") {
				t.Errorf("the failed job counts as a success: %v", err)
			}
			send(t, w, 200, 200)
			if err := w.Stop(2 * time.Minute); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(log.String(), `"unarchived":200`) {
				t.Error("the log does not report how many events are not archived")
			}
			for line := range strings.Lines(log.String()) {
				if !strings.HasPrefix(line, "{") || strings.Contains(line, `\n`) {
					t.Errorf("not a separate line: %s", line)
				}
			}
			if strings.Contains(log.String(), "router's page") {
				t.Error("the log contains the page of another server")
			}
			w.Args = w.Args[:2] // remove --archive
			start(t, w)
			if err := w.Stop(time.Minute); err != nil {
				t.Fatal(err)
			}
			if text := log.String(); !strings.Contains(text[strings.LastIndex(text, `"unarchived":200`):], `"unarchived":0`) {
				t.Error("the next run did not archive the remaining events")
			}
		})
	}
}
