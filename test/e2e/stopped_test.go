package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/testlog"
)

// signalBooks sends a signal to the books process, and waits for the process if necessary.
func signalBooks(t *testing.T, w *Wayside, s syscall.Signal) {
	t.Helper()
	eventually(t, "a books process", func() bool { return w.BooksPID() > 0 })
	if err := syscall.Kill(w.BooksPID(), s); err != nil {
		t.Fatal(err)
	}
}

// command runs a command of the binary, for at most half a minute, and returns its exit code and its output.
func command(t *testing.T, w *Wayside, args ...string) (code int, output string) {
	return commandWithin(t, 30*time.Second, w, args...)
}

// commandWithin is command with another limit of time.
func commandWithin(t *testing.T, limit time.Duration, w *Wayside, args ...string) (code int, output string) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, w.Binary, append(args, "--data", w.DataDir)...).CombinedOutput()
	if err != nil {
		code = exitCode(err)
	}
	return code, string(out)
}

// TestStoppedBooks stops the books process before anyone has asked it for anything. The accounting must still contain
// the history, and commands that need the books process must fail rather than hang.
func TestStoppedBooks(t *testing.T) {
	t.Parallel()
	w, log := newWayside(t, origin(t))
	start(t, w)
	send(t, w, 600, 200)
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(40 * time.Second); err != nil {
		t.Fatal(err)
	}
	start(t, w)
	signalBooks(t, w, syscall.SIGSTOP)
	var asked sync.WaitGroup
	asked.Go(func() {
		if a, err := w.Accounting(t.Context()); err != nil || a.Settled || a.Responses != 0 && a.Responses != 600 {
			t.Errorf("the accounting must be empty or complete: %+v, %v", a, err)
		}
	})
	for _, args := range [][]string{{"job", "archive"}, {"verify"}} {
		asked.Go(func() {
			if code, output := command(t, w, args...); code != 1 || !strings.Contains(output, "the books process does not respond") {
				t.Errorf("%v: exit %d: %s", args, code, output)
			}
		})
	}
	asked.Wait()
	eventually(t, "readiness reports it", func() bool {
		body, err := w.Ask(t.Context(), http.MethodGet, "/readyz?verbose")
		return err == nil && strings.Contains(string(body), "[!] books: the books process is connected and has not answered since")
	})
	signalBooks(t, w, syscall.SIGCONT)
	eventually(t, "the books process responds again", func() bool {
		body, err := w.Ask(t.Context(), http.MethodGet, "/readyz?verbose")
		return err == nil && strings.Contains(string(body), "[+] books: connected") && strings.Contains(log.String(), "the books process responds again")
	})
	eventually(t, "the contents of the store are known while the books process is stopped", func() bool {
		time.Sleep(time.Second) // lets the books process run for this time
		signalBooks(t, w, syscall.SIGSTOP)
		a, err := w.Accounting(t.Context())
		signalBooks(t, w, syscall.SIGCONT)
		return err == nil && !a.Settled && a.Responses == 600 && a.Applied == 600 && a.Check() == nil
	})
}

// TestSecondCollect starts a second books process. It must not disturb the first one.
func TestSecondCollect(t *testing.T) {
	t.Parallel()
	w, _ := newWayside(t, origin(t), "--no-collector")
	start(t, w)
	collect := func() (*exec.Cmd, *testlog.Buffer) {
		output := &testlog.Buffer{}
		cmd := exec.Command(w.Binary, "collect", "--data", w.DataDir)
		cmd.Stdout, cmd.Stderr = output, output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd, output
	}
	_, _ = collect()
	send(t, w, 10, 200)
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, output := collect()
	eventually(t, "the second books process waits", func() bool { return strings.Contains(output.String(), "waiting for another books process") })
	for i, when := range []string{"while the second one waits", "after the second one has ended"} {
		send(t, w, 10, 200)
		a, err := w.AwaitSettled(t.Context())
		if want := uint64(10 * (i + 2)); err != nil || a.Applied != want {
			t.Errorf("%s: %d applied, want %d, %v", when, a.Applied, want, err)
		}
		body, err := w.Ask(t.Context(), http.MethodGet, "/api/v1/accounting")
		if err != nil || !bytes.Contains(body, []byte(`"books": "connected"`)) {
			t.Errorf("%s: %s, %v", when, body, err)
		}
		if i > 0 {
			break
		}
		if err := second.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := second.Wait(); err != nil || strings.Contains(output.String(), "context canceled") {
			t.Errorf("the second one ended with %v: %s", err, output)
		}
	}
	if code, output := command(t, w, "verify", "--local"); code != 0 {
		t.Error(fmt.Sprint(code), output)
	}
}

// TestStopWithStoppedBooks stops wayside while the books process is stopped. wayside run must end within
// shutdown.timeout, and immediately after a second signal. Earlier versions took five seconds more, so the bounds
// exceed the timeout by a little less than that.
func TestStopWithStoppedBooks(t *testing.T) {
	t.Parallel()
	for name, timeout := range map[string]string{"timeout": "4s", "second signal": "1h"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, log := newWayside(t, origin(t))
			w.Env = []string{"WAYSIDE_SHUTDOWN_TIMEOUT=" + timeout}
			start(t, w)
			send(t, w, 10, 200)
			if _, err := w.AwaitSettled(t.Context()); err != nil {
				t.Fatal(err)
			}
			signalBooks(t, w, syscall.SIGSTOP)
			books := w.BooksPID()
			bound := 8500 * time.Millisecond
			if timeout == "1h" {
				if err := syscall.Kill(w.PID(), syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				eventually(t, "wayside is stopping", func() bool { return strings.Contains(log.String(), `"stopping"`) })
				time.Sleep(100 * time.Millisecond) // two signals at the same time count as one
				bound = 4500 * time.Millisecond
			}
			if err := w.Stop(bound); err != nil {
				t.Error(err)
			}
			if err := syscall.Kill(books, 0); err == nil {
				t.Error("the books process still runs")
				_ = syscall.Kill(books, syscall.SIGKILL)
			}
			if !strings.Contains(log.String(), "books process did not end in time and is being killed") {
				t.Error("the log does not say that the books process was killed")
			}
		})
	}
}
