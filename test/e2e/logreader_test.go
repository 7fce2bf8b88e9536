package e2e

import (
	"errors"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// metric returns the value of a metric without labels, or -1 if it is missing.
func metric(t *testing.T, w *Wayside, name string) int {
	t.Helper()
	body, err := w.Ask(t.Context(), http.MethodGet, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + name + ` (\d+)$`).FindStringSubmatch(string(body))
	if found == nil {
		return -1
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

// fillPipe writes to a pipe until it is full.
func fillPipe(t *testing.T, pipe *os.File) {
	t.Helper()
	if err := pipe.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := pipe.WriteString(strings.Repeat("x", 1024) + "\n"); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestLogWithoutReader runs wayside with a standard output and error whose reader has exited or does not read. Lines
// may be lost, but are counted. No request may fail, and wayside must still be able to end.
func TestLogWithoutReader(t *testing.T) {
	t.Parallel()
	for _, reader := range []string{"has exited", "hangs"} {
		t.Run(reader, func(t *testing.T) {
			w, _ := newWayside(t, origin(t))
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = read.Close(), write.Close() })
			if reader == "has exited" {
				_ = read.Close()
			} else {
				fillPipe(t, write)
			}
			w.Log = write
			w.Env = []string{"WAYSIDE_LOG_ACCESS=true"}
			start(t, w)
			send(t, w, 200, 200)
			if _, err := w.AwaitSettled(t.Context()); err != nil {
				t.Fatal(err)
			}
			if reader == "has exited" {
				eventually(t, "lost lines are counted", func() bool {
					return metric(t, w, "wayside_log_dropped_total") > 0 && metric(t, w, "wayside_access_log_dropped_total") == 200
				})
			} else if n := metric(t, w, "wayside_log_dropped_total"); n != 0 {
				t.Errorf("%d lines are lost, but all of them must wait", n)
			}
			signalBooks(t, w, syscall.SIGKILL) // this produces log lines
			eventually(t, "the books process starts again", func() bool { return metric(t, w, "wayside_books_process_restarts_total") == 1 })
			send(t, w, 200, 200)
			if a, err := w.AwaitSettled(t.Context()); err != nil || a.Applied != 400 {
				t.Errorf("%+v, %v", a, err)
			}
			if err := w.Stop(40 * time.Second); err != nil {
				t.Error("stop:", err)
			}
		})
	}
}

// TestPipedCommandEndsQuietly checks that a command ends with SIGPIPE when the reader of its output has exited, like other
// commands.
func TestPipedCommandEndsQuietly(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = read.Close()
	process, err := os.StartProcess(testBinary(t), []string{"wayside", "config", "example", "full"}, &os.ProcAttr{Files: []*os.File{nil, write, nil}})
	_ = write.Close()
	if err != nil {
		t.Fatal(err)
	}
	state, err := process.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if status, ok := state.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGPIPE {
		t.Errorf("the command ended with %v", state)
	}
}
