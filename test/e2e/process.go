package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/datadir"
)

// builtEnv is the environment variable that names the folder in which scripts/test.sh has built binaries, so test packages do not have
// to build them again. The name of that folder contains a hash of the binaries. go test does not track which binary a test executes, but
// it tracks the variables that the test reads, so it does not reuse results from a different binary.
const builtEnv = "WAYSIDE_INTERNAL_TEST_BINARIES"

// Build compiles the binary into dir, without cgo, like the released binary. args are additional arguments of go build, such as "-race",
// which needs cgo. If a binary with these arguments has already been built, Build returns that one.
func Build(ctx context.Context, dir string, args ...string) (string, error) {
	if built := os.Getenv(builtEnv); built != "" {
		name := map[string]string{"": "wayside", "-race": "wayside-race", "-tags faults": "wayside-faults"}[strings.Join(args, " ")]
		if info, err := os.Stat(filepath.Join(built, name)); err == nil && info.Mode().IsRegular() {
			return filepath.Join(built, name), nil
		}
	}
	binary := filepath.Join(dir, "wayside")
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", binary}, args...), "github.com/wayside-proxy/wayside/cmd/wayside")...)
	if !slices.Contains(args, "-race") {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build wayside: %w\n%s", err, out)
	}
	return binary, nil
}

// CopyBinary copies a binary into a folder, for a user who cannot access the original.
func CopyBinary(binary, dir string) (string, error) {
	text, err := os.ReadFile(binary)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "wayside")
	return name, WriteExecutable(name, text)
}

// WriteExecutable writes a program or a script that can be executed immediately. While the file is open for writing, no other goroutine
// starts a process: the child would inherit the descriptor for a moment, and executing the file would fail with "text file busy"
// (go.dev/issue/22315).
func WriteExecutable(name string, text []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(name, text, 0o755)
}

// Wayside is a `wayside run` process and its data directory. The process can be killed and restarted.
type Wayside struct {
	Binary  string
	DataDir string
	Listen  string     // fixed, so clients can connect again after a restart
	Args    []string   // additional arguments of `wayside run`
	Env     []string   // additional environment variables
	Files   []*os.File // open in the process, starting with descriptor 3
	UID     uint32     // user and group of wayside if this process is root; 0 means the user of this process
	Log     io.Writer

	mu   sync.Mutex // guards the fields below
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	err  error         // the result of cmd, valid when done is closed
	info datadir.Info
}

// ReadyTimeout is the maximum time for a start.
const ReadyTimeout = 30 * time.Second

// Start starts the process and waits until it is ready.
func (w *Wayside) Start(ctx context.Context) error {
	cmd := exec.Command(w.Binary, append([]string{
		"run", "--listen", w.Listen, "--admin", "127.0.0.1:0", "--data", w.DataDir,
	}, w.Args...)...)
	cmd.Env, cmd.ExtraFiles = append(os.Environ(), w.Env...), w.Files
	if w.UID != 0 && os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: w.UID, Gid: w.UID}}
	}
	cmd.Stdout, cmd.Stderr = w.Log, w.Log
	cmd.WaitDelay = 3 * time.Second // the books process shares the pipes and can end a moment later than its parent
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start wayside: %w", err)
	}
	done := make(chan struct{})
	w.mu.Lock()
	w.cmd, w.done, w.info = cmd, done, datadir.Info{}
	w.mu.Unlock()
	go func() {
		err := cmd.Wait()
		w.mu.Lock()
		w.err = err
		w.mu.Unlock()
		close(done)
	}()
	return w.awaitReady(ctx, cmd.Process.Pid, done)
}

// Attach returns the running wayside that uses a data directory and was started by something else, such as systemd. Its figures can be
// read; it cannot be killed or stopped.
func Attach(dataDir string) (*Wayside, error) {
	info, err := datadir.ReadInfo(dataDir)
	if err != nil {
		return nil, err
	}
	return &Wayside{DataDir: dataDir, Listen: info.Listen, info: info}, nil
}

func (w *Wayside) awaitReady(ctx context.Context, pid int, done <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, ReadyTimeout)
	defer cancel()
	for {
		if info, err := datadir.ReadInfo(w.DataDir); err == nil && info.PID == pid {
			w.mu.Lock()
			w.info = info
			w.mu.Unlock()
			if _, err := w.Ask(ctx, http.MethodGet, "/readyz"); err == nil {
				return nil
			}
		}
		select {
		case <-done:
			return fmt.Errorf("wayside ended while it started: %w", w.exitError())
		case <-ctx.Done():
			return fmt.Errorf("wayside is not ready: %w", ctx.Err())
		case <-time.After(3 * time.Millisecond):
		}
	}
}

func (w *Wayside) exitError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Info returns the run.json of the running process.
func (w *Wayside) Info() datadir.Info {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.info
}

// PID returns the process ID of the traffic process.
func (w *Wayside) PID() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cmd.Process.Pid
}

// BooksPID returns the process ID of the books process, which is a child of the traffic process, or 0 if there is none.
func (w *Wayside) BooksPID() int {
	pid := w.PID()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	// A child is listed under the thread that created it, so the children of all threads are read.
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		more, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		text = append(append(text, ' '), more...)
	}
	for _, field := range strings.Fields(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			continue
		}
		// A child that has not executed a program is not counted, because package os creates such a child to find out whether the kernel
		// supports pidfds.
		if args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child)); err == nil && bytes.Contains(args, []byte("\x00collect\x00")) {
			return child
		}
	}
	return 0
}

// KillBooks kills the books process with SIGKILL and reports whether there was a books process.
func (w *Wayside) KillBooks() bool {
	pid := w.BooksPID()
	return pid > 0 && syscall.Kill(pid, syscall.SIGKILL) == nil
}

// Kill kills the traffic process with SIGKILL and waits until it has ended.
func (w *Wayside) Kill() {
	w.mu.Lock()
	cmd, done := w.cmd, w.done
	w.mu.Unlock()
	_ = cmd.Process.Kill()
	<-done
}

// Stop sends SIGTERM and waits. An exit code other than 0 is an error.
func (w *Wayside) Stop(timeout time.Duration) error {
	w.mu.Lock()
	cmd, done := w.cmd, w.done
	w.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-done:
		return w.exitError()
	case <-time.After(timeout):
		_ = cmd.Process.Kill()
		<-done
		return fmt.Errorf("wayside did not stop within %v", timeout)
	}
}

// Ask sends a request to the admin listener and returns the body. A status other than 2xx is an error.
func (w *Wayside) Ask(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.Info().Admin+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return body, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(body))
	}
	return body, nil
}

// Accounting contains the figures of GET /api/v1/accounting.
type Accounting struct {
	Responses   uint64            `json:"responses"`
	Recorded    uint64            `json:"recorded"`
	Dropped     map[string]uint64 `json:"dropped"`
	Excluded    uint64            `json:"excluded"`
	Spooled     uint64            `json:"spooled"`
	Applied     uint64            `json:"applied"`
	Aggregated  uint64            `json:"aggregated"`
	Quarantined uint64            `json:"quarantined"`
	Archived    uint64            `json:"archived"`
	Deleted     uint64            `json:"deleted"`
	Imported    uint64            `json:"imported"`
	Settled     bool              `json:"settled"`
}

// DroppedTotal returns the sum over all reasons.
func (a Accounting) DroppedTotal() uint64 {
	var n uint64
	for _, d := range a.Dropped {
		n += d
	}
	return n
}

// Check returns an error that names each identity that does not hold.
func (a Accounting) Check() error {
	var errs []error
	if sum := a.Recorded + a.DroppedTotal() + a.Excluded; a.Responses != sum {
		errs = append(errs, fmt.Errorf("responses %d, but recorded + dropped + excluded is %d", a.Responses, sum))
	}
	if sum := a.Spooled + a.Applied + a.Quarantined; a.Recorded != sum {
		errs = append(errs, fmt.Errorf("recorded %d, but spooled + applied + quarantined is %d", a.Recorded, sum))
	}
	if a.Applied != a.Aggregated {
		errs = append(errs, fmt.Errorf("applied %d, but the rows add up to %d", a.Applied, a.Aggregated))
	}
	if a.Deleted > a.Archived || a.Archived > a.Applied {
		errs = append(errs, fmt.Errorf("deleted %d, archived %d, applied %d", a.Deleted, a.Archived, a.Applied))
	}
	return errors.Join(errs...)
}

// Accounting returns the current figures.
func (w *Wayside) Accounting(ctx context.Context) (Accounting, error) {
	body, err := w.Ask(ctx, http.MethodGet, "/api/v1/accounting")
	if err != nil {
		return Accounting{}, err
	}
	var a Accounting
	return a, json.Unmarshal(body, &a)
}

// AwaitSettled waits until nothing is in flight, and returns the figures. It checks the identities at every attempt.
func (w *Wayside) AwaitSettled(ctx context.Context) (Accounting, error) {
	for {
		a, err := w.Accounting(ctx)
		if err == nil {
			if err := a.Check(); err != nil {
				return a, err
			}
			if a.Settled {
				return a, nil
			}
		}
		select {
		case <-ctx.Done():
			return a, fmt.Errorf("the books did not settle: %w (last response: %+v, %v)", ctx.Err(), a, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// AwaitRefill waits until a store that started empty, because the previous one was damaged, has been refilled from the archive.
func (w *Wayside) AwaitRefill(ctx context.Context) error {
	for {
		body, err := w.Ask(ctx, http.MethodGet, "/api/v1/storage")
		var storage struct {
			Refill struct {
				Due bool `json:"due"`
			} `json:"refill"`
		}
		if err == nil {
			err = json.Unmarshal(body, &storage)
		}
		if err == nil && !storage.Refill.Due {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the refill is not done: %s: %w", body, errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Running reports whether the traffic process is running.
func (w *Wayside) Running() bool {
	w.mu.Lock()
	done := w.done
	w.mu.Unlock()
	if done == nil {
		return false
	}
	select {
	case <-done:
		return false
	default:
		return true
	}
}
