package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/loopback"
)

// serviceManager hands a socket to the processes that it starts, one after the other, and receives their notifications, as systemd does.
type serviceManager struct {
	socket *net.TCPListener
	notify *net.UnixConn

	mu       sync.Mutex
	received []string // guarded by mu
}

func newServiceManager(t *testing.T, dir string) *serviceManager {
	t.Helper()
	address := loopback.Free(t)
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	m := &serviceManager{socket: ln.(*net.TCPListener)} //nolint:forcetypeassert // a TCP socket
	if m.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = m.socket.Close(), m.notify.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := m.notify.Read(buf)
			if err != nil {
				return
			}
			state, _, _ := strings.Cut(string(buf[:n]), "\n")
			m.mu.Lock()
			m.received = append(m.received, state)
			m.mu.Unlock()
		}
	}()
	return m
}

// states returns the notifications received so far.
func (m *serviceManager) states() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.received)
}

// adopt makes a wayside start with the socket. A shell sets LISTEN_PID, because the number of the process is not known before.
func (m *serviceManager) adopt(t *testing.T, w *Wayside, dir string) {
	t.Helper()
	file, err := m.socket.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	wrapper := filepath.Join(dir, "start")
	script := fmt.Sprintf("#!/bin/sh\nLISTEN_PID=$$ LISTEN_FDS=1 exec %s \"$@\"\n", w.Binary)
	if err := WriteExecutable(wrapper, []byte(script)); err != nil {
		t.Fatal(err)
	}
	w.Binary, w.Files = wrapper, []*os.File{file}
	w.Env = append(w.Env, "NOTIFY_SOCKET="+filepath.Join(dir, "notify"))
}

// TestSocketActivation starts wayside again and again on one socket, under load. No request fails, although each has a connection of its own:
// clients that connect while no wayside runs wait in the queue of the socket. The service manager learns each state.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, _ := newWayside(t, origin(t))
	m := newServiceManager(t, dir)
	m.adopt(t, w, dir)
	w.Listen = m.socket.Addr().String()
	start(t, w)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var requests atomic.Int64
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
			for ctx.Err() == nil {
				if err := getOnce(&c, "http://"+w.Listen+"/"); err != nil {
					t.Errorf("request %d: %v", requests.Load(), err)
					return
				}
				requests.Add(1)
			}
		})
	}
	more := func() {
		t.Helper()
		before := requests.Load()
		eventually(t, "requests are served", func() bool { return requests.Load() > before+20 || t.Failed() })
	}
	more()
	for range 3 {
		if err := w.Stop(time.Minute); err != nil {
			t.Fatal(err)
		}
		start(t, w)
		more()
	}
	if _, err := w.Ask(t.Context(), http.MethodPost, "/-/reload"); err != nil {
		t.Fatal(err)
	}
	cancel()
	clients.Wait()
	a, err := w.AwaitSettled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a.Responses != uint64(requests.Load()) {
		t.Errorf("the clients have %d responses, the books %d", requests.Load(), a.Responses)
	}
	if err := w.Stop(time.Minute); err != nil {
		t.Fatal(err)
	}
	want := slices.Repeat([]string{"READY=1", "STOPPING=1"}, 3)
	want = append(want, "READY=1", "RELOADING=1", "READY=1", "STOPPING=1")
	eventually(t, "all notifications are received", func() bool { return len(m.states()) >= len(want) })
	if got := m.states(); !slices.Equal(got, want) {
		t.Errorf("notifications %q, want %q", got, want)
	}
}

func getOnce(c *http.Client, url string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || string(body) != OriginBody) {
		err = errors.New(resp.Status)
	}
	return err
}

// TestForeignSocket: nobody would serve the clients of a socket whose address is not configured, so it is refused.
func TestForeignSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, log := newWayside(t, origin(t))
	m := newServiceManager(t, dir)
	m.adopt(t, w, dir)
	err := w.Start(t.Context())
	want := "has passed a socket for " + m.socket.Addr().String() + ", but no key of the configuration has this address"
	if exitCode(errors.Unwrap(err)) != 78 || !strings.Contains(log.String(), want) {
		t.Errorf("%v\n%s", err, log)
	}
}
