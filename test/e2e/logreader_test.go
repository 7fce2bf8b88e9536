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

// metric is the value of a metric without labels; -1 if it is not there.
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

// fillPipe writes into a pipe until it takes no more.
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

// TestLogWithoutReader: standard output and error that have no reader, or one that does not read, cost lines, which are counted, and no
// request; and they do not keep the process from leaving.
func TestLogWithoutReader(t *testing.T) {
	t.Parallel()
	for _, reader := range []string{"left", "hangs"} {
		t.Run(reader, func(t *testing.T) {
			w, _ := newWayside(t, origin(t))
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = read.Close(), write.Close() })
			if reader == "left" {
				_ = read.Close()
			} else {
				fillPipe(t, write)
			}
			w.Log = write
			w.Env = []string{"WAYSIDE_LOG_ACCESS=true"}
			start(t, w)
			send(t, w, 200, 200)
			if _, err := w.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if reader == "left" {
				eventually(t, "lost lines are counted", func() bool {
					return metric(t, w, "wayside_log_dropped_total") > 0 && metric(t, w, "wayside_access_log_dropped_total") == 200
				})
			} else if n := metric(t, w, "wayside_log_dropped_total"); n != 0 {
				t.Errorf("%d lines lost, which wait", n)
			}
			signalBooks(t, w, syscall.SIGKILL) // the log has something to say about it
			eventually(t, "the books process is started again", func() bool { return metric(t, w, "wayside_books_process_restarts_total") == 1 })
			send(t, w, 200, 200)
			if a, err := w.Settle(t.Context()); err != nil || a.Applied != 400 {
				t.Errorf("%+v, %v", a, err)
			}
			if err := w.Stop(40 * time.Second); err != nil {
				t.Error("stop:", err)
			}
		})
	}
}

// TestPipedCommandEndsQuietly: a command that prints ends by itself when its reader leaves, as others do.
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
		t.Errorf("it ended with %v", state)
	}
}
