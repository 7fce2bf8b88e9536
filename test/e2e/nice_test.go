package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// threadsOf returns the niceness of every thread of a process.
func threadsOf(t *testing.T, pid int) (out []string) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no threads of %d: %v", pid, err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		out = append(out, strings.Fields(rest)[16]) // the 19th field
	}
	return out
}

// TestBooksProcessPriority checks that every thread of the books process has the intended niceness and timer slack,
// including threads that started later, and that the traffic process keeps its own.
func TestBooksProcessPriority(t *testing.T) {
	t.Parallel()
	base, err := strconv.Atoi(threadsOf(t, os.Getpid())[0]) // the niceness of the tests
	if err != nil {
		t.Fatal(err)
	}
	more := min(base+6, 19)
	for set, niceness := range map[string]int{"": max(base, 5), "0": base, strconv.Itoa(more): more} {
		want, own := strconv.Itoa(niceness), strconv.Itoa(base)
		w, _ := newWayside(t, origin(t))
		if set != "" {
			w.Env = []string{"WAYSIDE_COLLECTOR_NICE=" + set}
		}
		start(t, w)
		send(t, w, 500, 200)
		if _, err := w.AwaitSettled(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, n := range threadsOf(t, w.BooksPID()) {
			if n != want {
				t.Errorf("collector.nice %q: a thread has niceness %s", set, n)
			}
		}
		if os.Getuid() == 0 { // other users may not read it
			if slack, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", w.BooksPID())); err != nil || string(slack) != "250000000\n" {
				t.Errorf("timer slack of the books process: %q, %v", slack, err)
			}
			if slack, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", w.PID())); err != nil || string(slack) != "50000\n" {
				t.Errorf("timer slack of the traffic process: %q, %v", slack, err)
			}
		}
		for _, n := range threadsOf(t, w.PID()) {
			if n != own {
				t.Errorf("a thread of the traffic process has niceness %s", n)
			}
		}
	}
}
