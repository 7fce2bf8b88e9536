package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/test/s3test"
)

// archiveChange is a wayside whose bucket changes: 100 events are in the first bucket, 50 in the second.
type archiveChange struct {
	w             *Wayside
	env           []string
	first, second *s3test.Server
	config        string
}

func newArchiveChange(t *testing.T) *archiveChange {
	t.Helper()
	c := &archiveChange{first: s3test.Start(t), config: filepath.Join(t.TempDir(), "wayside.yaml")}
	var err error
	if c.second, err = c.first.Another("wayside-second"); err != nil {
		t.Fatal(err)
	}
	c.w, _ = newWayside(t, origin(t), "--config", c.config)
	c.env = c.first.Env()
	c.w.Env = c.env
	c.use(t, c.first)
	return c
}

// use writes a configuration with this bucket.
func (c *archiveChange) use(t *testing.T, s *s3test.Server) {
	t.Helper()
	text := fmt.Sprintf("archive: {url: '%s', after: 0s, schedule: '@every 1h'}\nretention: {events: 0s, schedule: '@every 1h'}\n", s.URL("books"))
	if err := os.WriteFile(c.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// archive sends n requests and archives them. Afterwards, all events must have been archived.
func (c *archiveChange) archive(t *testing.T, n int, all uint64) {
	t.Helper()
	send(t, c.w, n, 200)
	if _, err := c.w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.w.Ask(t.Context(), http.MethodPost, "/-/job/archive?all=true"); err != nil {
		t.Fatal(err)
	}
	if a, err := c.w.Accounting(t.Context()); err != nil || a.Archived != all {
		t.Fatalf("archived %d of %d, %v", a.Archived, all, err)
	}
}

// run runs a command on the data directory.
func (c *archiveChange) run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	args = append(args, "--data", c.w.DataDir)
	if args[1] == "restore" || args[1] == "rebuild" {
		args = append(args, "--into", filepath.Join(t.TempDir(), "into"))
	}
	return archiveCommand(t, c.w, c.env, args...)
}

// wantAll checks that every command sees the events of both buckets.
func (c *archiveChange) wantAll(t *testing.T, when string) {
	t.Helper()
	for name, wants := range map[string][]string{
		"ls": {"s3://wayside-test/", "s3://wayside-second/"}, "verify": {"in former archives: all as it should be"}, "cat": nil,
		"restore": {" 150 rows"}, "rebuild": {" 150 responses"},
	} {
		code, out, errs := c.run(t, "archive", name)
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s: archive %s does not print %q", when, name, want)
				code = max(code, 1)
			}
		}
		if code != 0 || name == "cat" && strings.Count(out, "\n") != 150 {
			t.Errorf("%s: archive %s: exit %d\n%s%s", when, name, code, out, errs)
		}
	}
	if code, out, errs := c.run(t, "verify"); code != 0 {
		t.Errorf("%s: verify: exit %d\n%s%s", when, code, out, errs)
	}
}

// TestBucketIsChanged changes the bucket by a restart or a reload. Retention must look for each object in its own
// bucket. Commands that read the archive must read both buckets, whether wayside is running or stopped. If one bucket
// is missing, they must name it and read the other.
func TestBucketIsChanged(t *testing.T) {
	t.Parallel()
	for _, change := range []string{"restart", "reload"} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			c := newArchiveChange(t)
			start(t, c.w)
			c.archive(t, 100, 100)
			c.use(t, c.second)
			if change == "restart" {
				if err := c.w.Stop(ReadyTimeout); err != nil {
					t.Fatal(err)
				}
				start(t, c.w)
			} else if body, err := c.w.Ask(t.Context(), http.MethodPost, "/-/reload"); err != nil {
				t.Fatalf("%v\n%s", err, body)
			}
			c.archive(t, 50, 150)
			c.wantAll(t, "before retention")
			if _, err := c.w.Ask(t.Context(), http.MethodPost, "/-/job/clean"); err != nil {
				t.Fatal(err)
			}
			if a, err := c.w.Accounting(t.Context()); err != nil || a.Deleted != 150 {
				t.Errorf("retention deleted %d of 150 events, %v", a.Deleted, err)
			}
			c.wantAll(t, "after retention")
			if err := c.w.Stop(ReadyTimeout); err != nil {
				t.Fatal(err)
			}
			c.wantAll(t, "stopped")
			if code, out, errs := archiveCommand(t, c.w, c.env, "archive", "cat", "--bucket", c.second.URL("books")); code != 0 || strings.Count(out, "\n") != 50 {
				t.Errorf("one bucket alone: exit %d, %d lines\n%s", code, strings.Count(out, "\n"), errs)
			}
			if err := os.RemoveAll(c.first.ObjectPath("")); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{"cat": `"seq"`, "restore": " 50 rows", "rebuild": " 50 responses"} {
				code, out, errs := c.run(t, "archive", name)
				if code != 1 || !strings.Contains(out, want) || !strings.Contains(errs, "s3://wayside-test/books") || name == "cat" && strings.Count(out, "\n") != 50 {
					t.Errorf("the former bucket is missing: archive %s: exit %d\n%s%s", name, code, out, errs)
				}
			}
		})
	}
}
