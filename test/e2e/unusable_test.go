package e2e

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/datadir"
)

// unusable is a reason why nothing can be written to a data directory. make causes it and returns a function that
// undoes it, or nil if it cannot be undone.
type unusable struct {
	reason string // as it appears in readiness and log
	make   func(t *testing.T, w *Wayside) (with func(*exec.Cmd), lift func())
}

var unusables = map[string]unusable{
	"read-only": {"read-only file system", func(t *testing.T, w *Wayside) (func(*exec.Cmd), func()) {
		mountTmpfs(t, w.DataDir, "size=64m")
		remount := func(flags uintptr) {
			if err := syscall.Mount("", w.DataDir, "", syscall.MS_REMOUNT|flags, ""); err != nil {
				t.Fatal(err)
			}
		}
		remount(syscall.MS_RDONLY)
		return func(*exec.Cmd) {}, func() { remount(0) }
	}},
	"full": {"no space left on device", func(t *testing.T, w *Wayside) (func(*exec.Cmd), func()) {
		mountTmpfs(t, w.DataDir, "size=64m")
		ballast := filepath.Join(w.DataDir, "ballast")
		fill(t, ballast)
		return func(*exec.Cmd) {}, func() {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		}
	}},
	"owned by another user": {"permission denied", func(t *testing.T, w *Wayside) (func(*exec.Cmd), func()) {
		const otherUser = 65534
		dir, err := os.MkdirTemp("", "wayside-owner-") //nolint:usetesting // another user needs access
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		w.DataDir = filepath.Join(dir, "data")
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(w.DataDir, 0o500); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() != 0 {
			return func(*exec.Cmd) {}, nil
		}
		if err := os.Chmod(w.DataDir, 0o755); err != nil {
			t.Fatal(err)
		}
		if w.Binary, err = CopyBinary(w.Binary, dir); err != nil {
			t.Fatal(err)
		}
		return func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: otherUser, Gid: otherUser}}
		}, nil
	}},
}

// TestUnusableDataDirectory runs wayside on a data directory to which nothing can be written. No response may be held
// back, even with spool.sync: request. Each response counts as dropped, and the accounting settles. Readiness and log
// state the reason. When the directory becomes usable, recording begins by itself.
func TestUnusableDataDirectory(t *testing.T) {
	t.Parallel()
	for name, u := range unusables {
		t.Run(name, func(t *testing.T) {
			w, log := newWayside(t, origin(t))
			with, lift := u.make(t, w)
			w.Env = []string{"WAYSIDE_SPOOL_SYNC=request", "WAYSIDE_DATA_FREE_MIN=0"}
			admin := startUnwritable(t, w, with)
			send(t, w, 100, 200)
			var a Accounting
			eventually(t, "the last response is no longer in flight", func() bool { // the client has it a moment earlier
				a = accountingAt(t, admin)
				return a.Settled
			})
			if a.Responses != 100 || a.Dropped["unavailable"] != 100 || a.DroppedTotal() != 100 || a.Check() != nil {
				t.Errorf("accounting %+v", a)
			}
			status, ready := get(t, "http://"+admin+"/readyz?verbose")
			if status != http.StatusOK || !strings.Contains(ready, "[!] spool: ") || !strings.Contains(ready, u.reason) ||
				!strings.Contains(ready, "unrecorded responses are counted as dropped") {
				t.Errorf("readiness %d: %s", status, ready)
			}
			if _, metrics := get(t, "http://"+admin+"/metrics"); !strings.Contains(metrics, "wayside_spool_degraded 1\n") ||
				!strings.Contains(metrics, `wayside_spool_dropped_total{reason="unavailable"} 100`) || !strings.Contains(metrics, "wayside_spool_unsynced_total 0\n") {
				t.Errorf("metrics: %s", metrics)
			}
			eventually(t, "the log has their number, the reason and the directory", func() bool {
				for line := range strings.Lines(log.String()) {
					if strings.Contains(line, "responses are being dropped from the books") && strings.Contains(line, "since_start_unavailable") &&
						strings.Contains(line, u.reason) && strings.Contains(line, w.DataDir) {
						return true
					}
				}
				return false
			})
			if lift == nil {
				return
			}
			lift()
			eventually(t, "the spool is available", func() bool { return strings.Contains(log.String(), "spool available again") })
			send(t, w, 50, 200)
			eventually(t, "later responses are in the books", func() bool {
				a := accountingAt(t, admin)
				return a.Settled && a.Applied == 50 && a.Responses == 150 && a.DroppedTotal() == 100 && a.Check() == nil
			})
			eventually(t, "commands find wayside by its data directory", func() bool {
				code, _ := command(t, w, "job", "archive")
				return code == 0
			})
			if info, err := datadir.ReadInfo(w.DataDir); err != nil || !strings.HasSuffix(info.Admin, admin) {
				t.Errorf("run.json: %+v, %v", info, err)
			}
		})
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url) //nolint:noctx // not needed for the admin listener of a test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestFullDiskFromStartToEnd runs a process on a disk that is full from its start to its end. The next process that
// finds space must have exactly its own responses in the books.
func TestFullDiskFromStartToEnd(t *testing.T) {
	t.Parallel()
	w, log := newWayside(t, origin(t))
	mountTmpfs(t, w.DataDir, "size=64m,mode=0750")
	ballast := filepath.Join(w.DataDir, "ballast")
	fill(t, ballast)
	w.Env = []string{"WAYSIDE_DATA_FREE_MIN=0"}
	t.Run("full", func(t *testing.T) {
		startUnwritable(t, w)
		send(t, w, 500, 200)
	}) // the cleanup of the subtest stops wayside
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	start(t, w)
	send(t, w, 1, 200)
	eventually(t, "the responses of both processes are in the books", func() bool {
		a, err := w.Accounting(t.Context())
		return err == nil && a.Settled && a.Responses == 501 && a.Applied == 1 && a.Dropped["unavailable"] == 500 && a.Check() == nil
	})
	if !strings.Contains(log.String(), "an earlier process had no room for a ledger") {
		t.Error("the log does not mention the earlier process")
	}
	if err := w.Stop(40 * time.Second); err != nil {
		t.Error(err)
	}
	if code, output := command(t, w, "verify", "--local"); code != 0 {
		t.Errorf("verify: %d: %s", code, output)
	}
	start(t, w)
	if a, err := w.AwaitSettled(t.Context()); err != nil || a.Responses != 501 {
		t.Errorf("after another start: %+v, %v", a, err)
	}
}
