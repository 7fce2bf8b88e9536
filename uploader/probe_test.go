package uploader

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/wayside-proxy/wayside/test/testlog"
)

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestProbe: testing a working archive leaves no object behind, and succeeds even without permission to delete.
func TestProbe(t *testing.T) {
	forEveryTarget(t, func(t *testing.T, p place) {
		t.Helper()
		u, _ := newTest(t, newMemStore(t), p.Target, nil)
		for range 2 {
			if err := u.prober.try(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.Stat(t.Context(), probeKey(u.o.Service, u.o.Instance)); !errors.Is(err, ErrNotFound) {
			t.Errorf("the probe stays there: %v", err)
		}
		if p.requests == nil {
			return
		}
		p.requests.answerWith(func(r *http.Request) *http.Response {
			if r.Method == http.MethodDelete {
				return s3Error(r, http.StatusForbidden, "AccessDenied")
			}
			return nil
		})
		for range 2 {
			if err := u.prober.try(t.Context()); err != nil {
				t.Fatalf("without the permission to delete: %v", err)
			}
		}
		wantKeys(t, p, "v1/") // readers of the archive do not see the probe
	})
}

// TestArchiveIsTriedAtTheStart: a mistake is found at the start, logged once, shown in the status, and not mistaken for
// a successful job. When it is fixed, that is noticed.
func TestArchiveIsTriedAtTheStart(t *testing.T) {
	s := s3Server(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bucket := strings.ToLower(strings.ReplaceAll(t.Name(), "_", "-"))
	for name, c := range map[string]struct {
		url, hint string
		fix       func() error
	}{
		"bucket": {
			strings.Replace(s.URL("x"), s.Bucket, bucket, 1), "create the bucket " + bucket,
			func() error {
				return bucketOf(t, s, s.Endpoint).Target.(*s3Target).core.MakeBucket(context.Background(), bucket, minio.MakeBucketOptions{})
			},
		},
		"directory": {"file://" + file, "is a file", func() error { return os.Remove(file) }},
	} {
		t.Run(name, func(t *testing.T) {
			target, err := OpenTarget(t.Context(), c.url, TargetOptions{AccessKey: s.AccessKey, SecretKey: s.SecretKey, Transport: closing(t)})
			if err != nil {
				t.Fatal(err)
			}
			log := &testlog.Buffer{}
			u, _ := newTest(t, newMemStore(t), target, func(o *Options) {
				o.Now, o.Elapsed = time.Now, monotonic()
				o.BackoffMin, o.BackoffMax, o.Logger = time.Millisecond, 20*time.Millisecond, slog.New(slog.NewTextHandler(log, nil))
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- u.Run(ctx) }()
			until(t, "the mistake shows, and the job that had nothing to do fails", func() bool {
				s := u.Status()
				return strings.Contains(s.Unusable, c.hint) && s.Jobs[JobArchive].ConsecutiveFailures > 1
			})
			if r, err := u.ArchiveNow(t.Context(), true); err == nil || !strings.Contains(err.Error(), c.hint) {
				t.Errorf("a job by hand: %+v, %v", r, err)
			}
			if s := u.Status(); !s.Jobs[JobArchive].LastSuccess.IsZero() {
				t.Errorf("succeeded at %s", s.Jobs[JobArchive].LastSuccess)
			}
			if n := strings.Count(log.String(), "the archive cannot be used"); n != 1 {
				t.Errorf("said %d times:\n%s", n, log)
			}
			// MakeBucket's response has no ETag, so the target considers it foreign.
			var foreign *foreignError
			if err := c.fix(); err != nil && !errors.As(err, &foreign) {
				t.Fatal(err)
			}
			until(t, "it works", func() bool { s := u.Status(); return s.Unusable == "" && !s.Jobs[JobArchive].LastSuccess.IsZero() })
			until(t, "the log says so", func() bool { return strings.Contains(log.String(), "the archive can be used now") })
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if r, err := u.ArchiveNow(t.Context(), true); err != nil {
				t.Errorf("a job by hand: %+v, %v", r, err)
			}
		})
	}
}

// TestShutdownOfADeadArchive: an archive that is failing, or fails now, gets a few seconds of the shutdown's time. It
// is tested with a small object before a large one is sent to it. If it works again in that time, it gets everything.
func TestShutdownOfADeadArchive(t *testing.T) {
	refused := errors.New("connection refused")
	always := func(int, bool) error { return refused }
	once := func(n int, _ bool) error {
		if n == 0 {
			return refused
		}
		return nil
	}
	objects := func(_ int, probe bool) error {
		if !probe {
			return refused
		}
		return nil
	}
	for name, c := range map[string]struct {
		failed bool                          // before the shutdown
		put    func(n int, probe bool) error // puts during the shutdown, by number
		works  bool
	}{
		"stays dead":    {true, always, false},
		"dies":          {false, always, false},
		"takes nothing": {true, objects, false},
		"works again":   {true, once, true},
		"falters":       {false, once, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, p, n := newMemStore(t), directory(t), -1
			f := &faulty{Target: p.Target}
			u, clk := newTest(t, m, f, func(o *Options) { o.Elapsed = monotonic() })
			items := plainEvents(10, clk.Now(), 1)
			m.apply(testEpoch, clk.Now(), 100, items...)
			f.put = func(string) error { return refused }
			if c.failed {
				if _, err := u.ArchiveOnce(t.Context(), true); err == nil {
					t.Fatal("no error")
				}
			}
			f.put = func(key string) error {
				probe := key == probeKey(u.o.Service, u.o.Instance)
				if n++; n == 0 && c.failed && !probe {
					t.Error("an archive that fails is sent", key)
				}
				return c.put(n, probe)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			r, err := u.Shutdown(ctx) // if it does not return, the test's own timeout ends the test
			switch {
			case c.works && (err != nil || r.Rows != 10):
				t.Fatalf("%+v, %v", r, err)
			case c.works:
				wantArchived(t, p, items)
			case err == nil || !strings.Contains(err.Error(), "connection refused") || m.archived != 0:
				t.Fatalf("%+v, %v", r, err)
			}
		})
	}
}
