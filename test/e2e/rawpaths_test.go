package e2e

import (
	"bufio"
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRawPathsOff sends identifiers that templates replace, and searches for them everywhere after the spool. With
// paths.raw: off, wayside stores, archives and shows only the template of a path. The spool contains paths until the
// books process has taken them, because it is the books process that chooses the templates. At the end, the spool has
// been scrubbed.
func TestRawPathsOff(t *testing.T) {
	t.Parallel()
	w, log := newWayside(t, origin(t), "--log-level", "debug")
	w.Env = append(w.Env, "WAYSIDE_PATHS_RAW=off")
	start(t, w)
	c := canaries{words: []string{"9f3c1d7e5b8a4canary", "jane.canary@example.org", "5550017743"}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.Info().Admin+"/api/v1/tail", nil)
	if err != nil {
		t.Fatal(err)
	}
	awaitAnswer(t, w, "/api/v1/recent") // so that the books process is running
	tail, err := http.DefaultClient.Do(req)
	if err != nil || tail.StatusCode != http.StatusOK {
		t.Fatalf("tail: %v %v", err, tail)
	}
	defer tail.Body.Close()
	for range 5 {
		for _, word := range c.words {
			sendRaw(t, w.Listen, "", "GET /users/"+word+"/orders HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
		}
	}
	timeout := time.AfterFunc(20*time.Second, cancel)
	lines := bufio.NewScanner(tail.Body)
	seen := 0
	for seen < 15 && lines.Scan() {
		c.scan(t, "tail", lines.Bytes())
		if strings.Contains(lines.Text(), `"url_template":"/users/{id}/orders"`) {
			seen++
		}
	}
	timeout.Stop()
	if seen < 15 {
		t.Errorf("tail showed %d events with their template, want 15 (%v)", seen, lines.Err())
	}
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Ask(t.Context(), http.MethodPost, "/-/job/archive?all=true"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api/v1/events?limit=1000", "/api/v1/paths", "/metrics", "/api/v1/recent"} {
		body, err := w.Ask(t.Context(), http.MethodGet, path)
		if err != nil {
			t.Error(err)
		}
		c.scan(t, path, body)
	}
	c.scanFiles(t, "store", filepath.Join(w.DataDir, "store"), "")
	c.scanFiles(t, "archive", filepath.Join(w.DataDir, "archive"), "/users/{id}/orders")
	c.scan(t, "log", []byte(log.String()))
	if err := w.Stop(30 * time.Second); err != nil {
		t.Error(err)
	}
	c.scanFiles(t, "data directory after the end", w.DataDir, "")
}
