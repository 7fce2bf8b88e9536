package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

type forgotten struct {
	Rows      int    `json:"rows"`
	Responses uint64 `json:"responses"`
	Events    uint64 `json:"events"`
	Left      []string
	Objects   []struct{ Key, Holds string }
}

// forget runs wayside forget on the data directory.
func forget(t *testing.T, w *Wayside, args ...string) (done forgotten) {
	t.Helper()
	cmd := exec.Command(w.Binary, append([]string{"forget", "--data", w.DataDir, "--yes", "--output", "json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("forget: %v\n%s", err, &stderr)
	}
	if err := json.Unmarshal(out, &done); err != nil {
		t.Fatalf("forget: %v\n%s", err, out)
	}
	return done
}

// TestForgottenPathsAreNowhere sends secrets in paths: with and without their own row, archived and not, applied and
// not. Then wayside forgets them, once while it is running, and once on a data directory that no wayside is using. The
// test searches every byte of the data directory, including the unpacked objects of the archive. The figures must stay
// the same.
func TestForgottenPathsAreNowhere(t *testing.T) {
	t.Parallel()
	w, log := newWayside(t, origin(t), "--log-level", "debug")
	start(t, w)
	c := canaries{words: []string{"canaryword", "1a2b3c4d5e6fcanary9a8b7c6d"}}
	send := func(n int, path string) {
		for range n {
			sendRaw(t, w.Listen, "", "GET "+path+" HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
		}
	}
	secrets := func() {
		send(7, "/reset/canaryword/confirm")
		send(5, "/files/1a2b3c4d5e6fcanary9a8b7c6d")
		send(3, "/kept")
	}
	settle := func() Accounting {
		a, err := w.AwaitSettled(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	secrets()
	settle()
	if _, err := w.Ask(t.Context(), http.MethodPost, "/-/job/archive?all=true"); err != nil {
		t.Fatal(err)
	}
	secrets()
	before := settle()
	probe := &canaries{}
	probe.scanFiles(t, "archive", filepath.Join(w.DataDir, "archive"), "canaryword") // before the objects are rewritten, the archive contains the word

	done := forget(t, w, "*canary*", "--archive")
	if done.Events != 24 || len(done.Left) != 0 {
		t.Errorf("forget returned %+v, want the paths of 24 events and nothing left", done)
	}
	if done.Responses == 0 || len(done.Objects) != 1 || done.Objects[0].Holds != "reopened" {
		t.Errorf("forget returned %+v, want responses of a row and one rewritten object", done)
	}
	nowhere := func(when string) {
		t.Helper()
		awaitAnswer(t, w, "/snapshot")
		for _, path := range []string{"/snapshot", "/snapshots", "/api/v1/events?limit=1000", "/api/v1/paths", "/metrics", "/api/v1/recent"} {
			body, err := w.Ask(t.Context(), http.MethodGet, path)
			if err != nil {
				t.Error(err)
			}
			c.scan(t, when+": "+path, body)
		}
		c.scanFiles(t, when+": data directory", w.DataDir, "/kept")
		c.scan(t, when+": log", []byte(log.String()))
	}
	nowhere("running")
	var versions []struct{ Version uint64 }
	body, err := w.Ask(t.Context(), http.MethodGet, "/snapshots")
	if err != nil || json.Unmarshal(body, &struct{ Snapshots any }{&versions}) != nil {
		t.Errorf("snapshots: %v %s", err, body)
	}
	if len(versions) == 0 {
		t.Error("there are no snapshots")
	}
	for _, v := range versions {
		body, err := w.Ask(t.Context(), http.MethodGet, fmt.Sprintf("/snapshot/%d", v.Version))
		if err != nil {
			t.Error(err)
		}
		c.scan(t, "an earlier snapshot", body)
	}
	after := settle()
	if before.Applied != after.Applied || before.Aggregated != after.Aggregated || before.Archived != after.Archived {
		t.Errorf("the figures were %+v and are now %+v", before, after)
	}
	verified(t, w)

	w.Kill()
	start(t, w)
	settle()
	nowhere("after kill -9 and a restart")

	secrets() // the same again, but wayside is killed before everything has been applied
	books := w.BooksPID()
	w.Kill()
	eventually(t, "the books process has ended", func() bool { return syscall.Kill(books, 0) != nil })
	if done := forget(t, w, "*canary*", "--archive"); done.Events != 12 {
		t.Errorf("offline, forget returned %+v, want 12 events", done)
	}
	c.scanFiles(t, "offline: data directory", w.DataDir, "/kept")
	start(t, w)
	if a := settle(); a.Applied != before.Applied+15 {
		t.Errorf("%d applied, want %d", a.Applied, before.Applied+15)
	}
	verified(t, w)
	if err := w.Stop(30 * time.Second); err != nil {
		t.Error(err)
	}
	c.scanFiles(t, "stopped: data directory", w.DataDir, "/kept")
}

// verified runs wayside verify, including the archive.
func verified(t *testing.T, w *Wayside) {
	t.Helper()
	out, err := exec.Command(w.Binary, "verify", "--data", w.DataDir).CombinedOutput()
	if err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
}

// awaitAnswer waits until an endpoint of the books process answers, because that process starts after the traffic
// process.
func awaitAnswer(t *testing.T, w *Wayside, path string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err := w.Ask(t.Context(), http.MethodGet, path); err == nil {
			return
		}
	}
	t.Errorf("%s does not answer", path)
}
