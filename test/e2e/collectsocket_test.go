package e2e

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/link"
)

// withoutDescriptors keeps a process from opening descriptors until lift is called.
func withoutDescriptors(t *testing.T, pid int) (lift func()) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Max: before.Max}, nil); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCollectSocketWithoutDescriptors runs wayside run without free descriptors. It must continue to serve traffic. A
// books process that connects during this time must be served on the same connection as soon as possible, and so must a
// later one.
func TestCollectSocketWithoutDescriptors(t *testing.T) {
	t.Parallel()
	w, log := newWayside(t, origin(t), "--no-collector")
	start(t, w)
	// A connection of its own: other tests close the unused connections of the default transport, and a new one could not be accepted.
	client := http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	request := func(when string) {
		t.Helper()
		resp, err := client.Get("http://" + w.Listen + "/") //nolint:noctx // not needed in a test
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		defer func() { _ = resp.Body.Close() }()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != OriginBody {
			t.Errorf("%s: %q, %v", when, body, err)
		}
	}
	request("before") // leaves the connection open

	lift := withoutDescriptors(t, w.PID())
	conn, err := link.Connect(w.DataDir, link.Relay)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	eventually(t, "wayside run cannot accept", func() bool {
		return strings.Contains(log.String(), "cannot serve the collect socket") && strings.Contains(log.String(), "too many open files")
	})
	request("meanwhile")
	lift()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	listener, err := link.NewListener(conn)
	if err != nil {
		t.Fatal(err)
	}
	relayed, err := listener.Accept()
	if err != nil {
		t.Fatalf("the connection is not served: %v", err)
	}
	_, _ = relayed.Close(), conn.Close()

	lift = withoutDescriptors(t, w.PID())
	if conn, err = link.Connect(w.DataDir, link.Relay); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(w.DataDir, link.SocketName)); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the socket without a name was not closed: %v", err)
	}
	_ = conn.Close()
	request("without a socket")
	lift()
	collect := exec.Command(w.Binary, "collect", "--data", w.DataDir)
	if err := collect.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = collect.Process.Kill(); _ = collect.Wait() }()
	if a, err := w.AwaitSettled(t.Context()); err != nil || a.Applied != 3 {
		t.Errorf("%+v, %v", a, err)
	}
}
