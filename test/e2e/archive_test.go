package e2e

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/s3test"
	"github.com/wayside-proxy/wayside/uploader"
)

// s3Target starts an S3 server and opens the archive on it.
func s3Target(t *testing.T) (*s3test.Server, uploader.Target) {
	t.Helper()
	s3 := s3test.Start(t)
	target, err := uploader.OpenTarget(t.Context(), s3.URL("books"), uploader.TargetOptions{AccessKey: s3.AccessKey, SecretKey: s3.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	return s3, target
}

// onReadOnlyRoot makes everything except the data directory read-only for the process. Without root, it only removes
// the system's folder for temporary files.
func onReadOnlyRoot(t *testing.T, w *Wayside) {
	t.Helper()
	w.Env = append(w.Env, "TMPDIR=/nonexistent")
	if os.Getuid() != 0 {
		t.Log("without root, the rest of the file system stays writable")
		return
	}
	if err := os.MkdirAll(w.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	wrapper := filepath.Join(t.TempDir(), "wayside")
	script := fmt.Sprintf("#!/bin/sh\nexec unshare -m sh -ec 'mount --make-rprivate /; mount --bind %[1]s %[1]s; mount -o remount,bind,ro /; "+
		"mount -o remount,bind,ro /tmp 2>/dev/null || true; ! touch /tmp/x 2>/dev/null; exec %[2]s \"$@\"' sh \"$@\"\n", w.DataDir, w.Binary)
	if err := WriteExecutable(wrapper, []byte(script)); err != nil {
		t.Fatal(err)
	}
	w.Binary = wrapper
}

// TestLongPathsOnAReadOnlyRoot sends paths that do not compress, so that archive objects are much larger than
// estimated. All must be archived, and wayside may write only to its data directory.
func TestLongPathsOnAReadOnlyRoot(t *testing.T) {
	t.Parallel()
	plain, err := Build(t.Context(), t.TempDir()) // built without the race detector, with which this takes minutes
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		requests uint64
		bytes    int
	}{{60_000, 200}, {14_000, 1000}} {
		t.Run(fmt.Sprintf("%d paths of %d characters", c.requests, c.bytes), func(t *testing.T) {
			t.Parallel()
			s3, target := s3Target(t)
			w, _ := newWayside(t, origin(t), "--archive", s3.URL("books"))
			w.Binary = plain
			w.Env = append(s3.Env(), "WAYSIDE_ARCHIVE_SCHEDULE=0 0 1 1 *", "WAYSIDE_SHUTDOWN_TIMEOUT=4m") // long, for busy machines
			onReadOnlyRoot(t, w)
			start(t, w)
			report, err := load.Run(t.Context(), load.Options{
				Address: w.Listen, Connections: 16, Requests: c.requests,
				Request: func(nonce uint64, r *load.Request) {
					rng := rand.NewChaCha8([32]byte{byte(nonce), byte(nonce >> 8), byte(nonce >> 16)})
					random := make([]byte, c.bytes*3/4)
					_, _ = rng.Read(random)
					r.Path = base64.RawURLEncoding.AppendEncode(append(load.Path(r.Path, nonce), '-'), random)
				},
			})
			if err != nil || report.Completed != c.requests {
				t.Fatalf("%v, %v", report, err)
			}
			if err := w.Stop(5 * time.Minute); err != nil {
				t.Fatal(err)
			}
			count, err := uploader.CountTarget(t.Context(), target)
			if err != nil || count.Distinct != int(c.requests) || count.Rows != int(c.requests) {
				t.Errorf("in the archive: %+v, %v", count, err)
			}
		})
	}
}
