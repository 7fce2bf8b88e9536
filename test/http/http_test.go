package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
)

var binaryDir, binary string

func TestMain(m *testing.M) {
	code := m.Run()
	if binaryDir != "" {
		_ = os.RemoveAll(binaryDir)
	}
	os.Exit(code)
}

// newRig returns a rig. All tests share one binary.
func newRig(t *testing.T) *rig {
	t.Helper()
	if binary == "" {
		var err error
		if binaryDir, err = os.MkdirTemp("", "wayside-bin-"); err != nil { //nolint:usetesting // lives longer than the first test
			t.Fatal(err)
		}
		if binary, err = e2e.Build(context.Background(), binaryDir); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{dir: t.TempDir(), binary: binary, log: t.Output()}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error("stop:", err)
		}
	})
	return r
}

// prove runs a proof in its short form.
func prove(t *testing.T, subject func(ctx context.Context, r *rig) (string, error)) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	measured, err := subject(ctx, newRig(t))
	t.Log(measured)
	if err != nil {
		t.Error(err)
	}
}

func TestMixed(t *testing.T) {
	prove(t, func(ctx context.Context, r *rig) (string, error) { return mixed(ctx, r, 6_000, 7) })
}

func TestMixedHTTP2(t *testing.T) {
	prove(t, func(ctx context.Context, r *rig) (string, error) { return mixedHTTP2(ctx, r, 4_000, 7) })
}

func TestReload(t *testing.T) {
	prove(t, func(ctx context.Context, r *rig) (string, error) { return reloads(ctx, r, 12) })
}

func TestReloadHTTP2(t *testing.T) {
	prove(t, func(ctx context.Context, r *rig) (string, error) {
		return overHTTP2(ctx, r, func(ctx context.Context, sub *rig) (string, error) { return reloads(ctx, sub, 11) })
	})
}

func TestStopHTTP2(t *testing.T) {
	prove(t, func(ctx context.Context, r *rig) (string, error) {
		return overHTTP2(ctx, r, func(ctx context.Context, sub *rig) (string, error) { return stops(ctx, sub, 1) })
	})
}

func TestStop(t *testing.T) {
	prove(t, func(ctx context.Context, r *rig) (string, error) { return stops(ctx, r, 2) })
}

// TestStopWithoutPrivilege does the same as TestStop, with the user of the image. If the tests run without privileges,
// both tests are the same.
func TestStopWithoutPrivilege(t *testing.T) {
	prove(t, func(ctx context.Context, r *rig) (string, error) {
		dir, err := os.MkdirTemp("", "wayside-uid-") //nolint:usetesting // other users cannot access the folder of a test
		if err != nil {
			return "", err
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		if r.binary, err = e2e.CopyBinary(r.binary, dir); err != nil {
			return "", err
		}
		r.dir, r.uid = dir, 65532
		return stops(ctx, r, 2)
	})
}

func TestMemory(t *testing.T) {
	prove(t, func(ctx context.Context, r *rig) (string, error) { return memory(ctx, r, 64<<20) })
}

// TestCurl uploads files and requests ranges with curl.
func TestCurl(t *testing.T) {
	need(t, "curl")
	prove(t, curl)
}

// TestEventSource reads server-sent events in a real Chromium.
func TestEventSource(t *testing.T) {
	need(t, "chromium")
	prove(t, eventSource)
}

func need(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("SKIPPED, NOT PROVED: %s is not installed (Debian: apt-get install %s)", tool, strings.TrimSuffix(tool, "-browser"))
	}
}
