package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/s3test"
	"github.com/wayside-proxy/wayside/test/testlog"
)

// origin starts an application that answers every path with OriginBody.
func origin(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, OriginBody) }))
	t.Cleanup(server.Close)
	return server.URL
}

// newWayside returns a wayside that has not been started yet. Its archive is in the data directory.
func newWayside(t *testing.T, upstream string, args ...string) (*Wayside, *testlog.Buffer) {
	t.Helper()
	listen := loopback.Free(t)
	log := &testlog.Buffer{}
	w := &Wayside{
		Binary: testBinary(t), DataDir: filepath.Join(t.TempDir(), "data"), Listen: listen, Log: log,
		Args: append([]string{"--upstream", upstream}, args...),
	}
	t.Cleanup(func() {
		_ = w.Stop(40 * time.Second)
		if t.Failed() {
			t.Logf("wayside's log:\n%s", log)
		}
		if strings.Contains(log.String(), "DATA RACE") {
			t.Errorf("the race detector found a race:\n%s", log)
		}
	})
	return w, log
}

func start(t *testing.T, w *Wayside) {
	t.Helper()
	if err := w.Start(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, w.Log)
	}
}

// send sends n requests over two connections. Each response must have this status.
func send(t *testing.T, w *Wayside, n, status int) {
	t.Helper()
	report, err := load.Run(t.Context(), load.Options{
		Address: w.Listen, Connections: 2, Requests: uint64(n),
		Verify: func(_ uint64, r *load.Response) error {
			if r.Status != status {
				return fmt.Errorf("status %d, want %d", r.Status, status)
			}
			return nil
		},
	})
	if err != nil || report.Completed != uint64(n) {
		t.Fatalf("%v, %v", report, err)
	}
}

// eventually waits until a condition is true. description completes the message "did not happen in time".
func eventually(t *testing.T, description string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen in time: %s", description)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

func TestDataDirectoryInUse(t *testing.T) {
	t.Parallel()
	w, _ := newWayside(t, origin(t))
	start(t, w)
	out, err := exec.Command(w.Binary, "run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
		"--upstream", "http://127.0.0.1:1", "--data", w.DataDir).CombinedOutput()
	if code := exitCode(err); code != 75 || !strings.Contains(string(out), fmt.Sprintf("pid %d", w.PID())) {
		t.Errorf("exit %d, %s", code, out)
	}
	send(t, w, 10, 200)
}

func TestListenEqualsUpstream(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(testBinary(t), "run", "--listen", "127.0.0.1:18080", "--upstream", "http://127.0.0.1:18080",
		"--data", t.TempDir()).CombinedOutput()
	if code := exitCode(err); code != 78 || !strings.Contains(string(out), "upstream") {
		t.Errorf("exit %d, %s", code, out)
	}
}

func TestDeadUpstreamIsAnsweredAndRecorded(t *testing.T) {
	t.Parallel()
	dead := loopback.Free(t)
	w, _ := newWayside(t, "http://"+dead)
	start(t, w)
	send(t, w, 50, 502)
	a, err := w.AwaitSettled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a.Responses != 50 || a.Recorded != 50 || a.Aggregated != 50 {
		t.Errorf("accounting %+v", a)
	}
	body, err := w.Ask(t.Context(), http.MethodGet, "/api/v1/paths")
	if err != nil || !strings.Contains(string(body), `"502":50`) {
		t.Errorf("paths: %s, %v", body, err)
	}
}

func TestS3AwayLosesNothing(t *testing.T) {
	t.Parallel()
	if _, err := s3test.Binary(); err != nil {
		t.Skipf("SKIPPED, there is no S3 server: %v", err)
	}
	s3, err := s3test.StartProcess(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s3.Stop)
	s3.Stop()
	w, log := newWayside(t, origin(t), "--archive", s3.URL("books"))
	w.Env = append(s3.Env(), "WAYSIDE_ARCHIVE_SCHEDULE=@every 1s", "WAYSIDE_ARCHIVE_AFTER=0s", "WAYSIDE_RETENTION_EVENTS=0s",
		"WAYSIDE_RETENTION_SCHEDULE=@every 1s")
	start(t, w)
	send(t, w, 500, 200)
	eventually(t, "readyz, metrics and log show the failure", func() bool {
		ready, err1 := w.Ask(t.Context(), http.MethodGet, "/readyz?verbose")
		metrics, err2 := w.Ask(t.Context(), http.MethodGet, "/metrics")
		return err1 == nil && err2 == nil && strings.Contains(string(ready), "[!] archive") &&
			strings.Contains(string(metrics), "wayside_archive_consecutive_failures") &&
			!strings.Contains(string(metrics), "wayside_archive_consecutive_failures 0") &&
			strings.Contains(log.String(), "job failed, trying again")
	})
	a, err := w.AwaitSettled(t.Context())
	if err != nil || a.Deleted != 0 || a.Archived != 0 {
		t.Fatalf("while S3 is away: %+v, %v", a, err)
	}
	if err := s3.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything is archived and deleted", func() bool {
		a, err := w.Accounting(t.Context())
		if err == nil {
			err = a.Check()
		}
		return err == nil && a.Archived == 500 && a.Deleted == 500
	})
}

func TestDamagedSpoolIsSetAside(t *testing.T) {
	t.Parallel()
	w, log := newWayside(t, origin(t), "--no-collector") // so that everything stays in the spool
	start(t, w)
	send(t, w, 2000, 200)
	w.Kill()
	queues, err := filepath.Glob(filepath.Join(w.DataDir, "spool", "*", "queue*.db"))
	if err != nil || len(queues) == 0 {
		t.Fatalf("queues: %v, %v", queues, err)
	}
	for _, queue := range queues {
		if err := os.WriteFile(queue, []byte(strings.Repeat("damage", 4096)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start(t, w)
	send(t, w, 100, 200)
	if aside, err := filepath.Glob(filepath.Join(w.DataDir, "quarantine", "*")); err != nil || len(aside) == 0 {
		t.Errorf("files in the quarantine: %v, %v\n%s", aside, err, log)
	}
}

// mountTmpfs mounts a new filesystem as the data directory.
func mountTmpfs(t *testing.T, dir, options string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, mounting a filesystem needs root")
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("SKIPPED, cannot mount tmpfs here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

func TestReadOnlyDataDirectory(t *testing.T) {
	t.Parallel()
	w, log := newWayside(t, origin(t))
	mountTmpfs(t, w.DataDir, "size=64m")
	if err := syscall.Mount("", w.DataDir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	admin := startUnwritable(t, w)
	send(t, w, 200, 200)
	a := accountingAt(t, admin)
	if a.Responses != 200 || a.DroppedTotal() != 200 || a.Check() != nil {
		t.Errorf("accounting %+v", a)
	}
	if !strings.Contains(log.String(), "data directory "+w.DataDir+" is on a read-only filesystem") {
		t.Errorf("the log does not name the problem with the directory:\n%s", log)
	}
}

func TestFullDiskAndBack(t *testing.T) {
	t.Parallel()
	w, _ := newWayside(t, origin(t))
	mountTmpfs(t, w.DataDir, "size=96m")
	w.Env = []string{"WAYSIDE_DATA_FREE_MIN=0"}
	start(t, w)
	send(t, w, 200, 200)
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(w.DataDir, "ballast")
	fill(t, ballast)
	sent := 200
	for range 20 {
		send(t, w, 500, 200) // these must be served even if nothing can be recorded
		sent += 500
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the books recover without a restart, and add up", func() bool {
		a, err := w.Accounting(t.Context())
		return err == nil && a.Check() == nil && a.Settled && a.Responses == uint64(sent)
	})
	before, err := w.Accounting(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send(t, w, 200, 200)
	eventually(t, "new responses are recorded again", func() bool {
		a, err := w.Accounting(t.Context())
		return err == nil && a.Check() == nil && a.Settled && a.Applied == before.Applied+200
	})
}

// fill writes until the disk is full.
func fill(t *testing.T, name string) {
	t.Helper()
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	chunk := make([]byte, 64<<10)
	for {
		if _, err := file.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// startUnwritable starts w on a data directory in which run.json cannot be written. The test therefore chooses the
// admin address.
func startUnwritable(t *testing.T, w *Wayside, with ...func(*exec.Cmd)) (admin string) {
	t.Helper()
	admin = loopback.Free(t)
	cmd := exec.Command(w.Binary, append([]string{"run", "--listen", w.Listen, "--admin", admin, "--data", w.DataDir}, w.Args...)...)
	cmd.Stdout, cmd.Stderr = w.Log, w.Log
	cmd.Env = append(os.Environ(), w.Env...)
	for _, change := range with {
		change(cmd)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("exit: %v", err)
		}
	})
	eventually(t, "wayside is ready", func() bool {
		conn, err := net.DialTimeout("tcp", admin, time.Second)
		if err != nil {
			return false
		}
		_ = conn.Close()
		resp, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return admin
}

func accountingAt(t *testing.T, admin string) Accounting {
	t.Helper()
	w := &Wayside{}
	w.info.Admin = "http://" + admin
	a, err := w.Accounting(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return a
}
