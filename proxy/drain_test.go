package proxy

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestShutdownAnswersWhatIsOnItsWay: a shutdown serves a request that arrives on an idle connection after the shutdown has begun, and a
// request whose connection is still in the listener's queue.
func TestShutdownAnswersWhatIsOnItsWay(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	b := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			close(entered)
			<-release
		}
		_, _ = io.WriteString(w, r.URL.Path)
	}), func(o *Options) { o.DrainGrace = time.Minute })
	b.responses = 4
	held, kept := b.dial(), b.dial()
	kept.get("/before")
	held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	done := make(chan error, 1)
	go func() { done <- b.p.Shutdown(t.Context()) }()
	for !b.p.closing.Load() {
		time.Sleep(time.Millisecond) //nolint:forbidigo // waits for a condition
	}
	if resp, body := kept.get("/after"); resp.StatusCode != 200 || body != "/after" || !resp.Close {
		t.Error(resp.Status, body, resp.Close)
	}
	close(release)
	if _, body := held.receive("GET"); body != "/held" {
		t.Error(body)
	}
	_ = held.conn.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.responses = 3
}

// unprivileged runs f on a thread without capabilities, like the threads of wayside in the image and the manifest.
func unprivileged(t *testing.T, f func()) {
	t.Helper()
	var done sync.WaitGroup
	done.Go(func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		none := [2]unix.CapUserData{}
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			t.Error("drop capabilities:", err)
			return
		}
		f()
	})
	done.Wait()
}

// TestListenersQueueIsEmptied: connections that were queued before the shutdown are served, later ones are refused. This needs no
// privilege.
func TestListenersQueueIsEmptied(t *testing.T) {
	p, err := New(Options{Upstream: origin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") }), DrainGrace: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, p: p, addr: ln.Addr().String(), books: newBooks()}
	var queued []*client
	for range 50 {
		c := b.dial()
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		queued = append(queued, c)
	}
	unprivileged(t, func() {
		if err := refuseNew(ln); err != nil {
			t.Error(err)
		}
	})
	if conn, err := net.DialTimeout("tcp", b.addr, 100*time.Millisecond); err == nil {
		_ = conn.Close()
		t.Error("a connection was made after the listener was told to refuse")
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(ln) }()
	for p.Metrics().ClientConns == 0 {
		time.Sleep(time.Millisecond) //nolint:forbidigo // waits for a condition
	}
	done := make(chan error, 1)
	go func() { done <- p.Shutdown(t.Context()) }()
	for i, c := range queued {
		if resp, body := c.receive("GET"); resp.StatusCode != 200 || body != "served" {
			t.Error(i, resp.Status, body)
		}
		_ = c.conn.Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A shutdown leaves the queue of an inherited socket to the next process that inherits it: clients that connect in the meantime wait for that
// process.
func TestInheritedQueueIsLeftAlone(t *testing.T) {
	upstream := origin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })
	systemd, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = systemd.Close() }()
	b := &bench{t: t, addr: systemd.Addr().String(), tls: false}
	var waiting *client
	for n := range 5 {
		p, err := New(Options{Upstream: upstream, Driver: Driver(*testDriver), DrainGrace: -1})
		if err != nil {
			t.Fatal(err)
		}
		file, err := systemd.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.FileListener(file)
		_ = file.Close()
		if err != nil {
			t.Fatal(err)
		}
		shared, err := Inherit(ln.(*net.TCPListener)) //nolint:forcetypeassert // a TCP socket
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- p.Serve(shared) }()
		if waiting != nil { // connected after the previous round's shutdown
			if resp, body := waiting.receive("GET"); resp.StatusCode != 200 || body != "served" {
				t.Error(n, resp.Status, body)
			}
		}
		c := b.dial()
		if resp, _ := c.get("/"); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		waiting = b.dial()
		waiting.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	}
}
