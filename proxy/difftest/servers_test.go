package difftest

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy"
)

// listen listens on a free loopback port.
func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// need returns the program's path, or skips the test and says why.
func need(t *testing.T, program string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	if path := "/usr/sbin/" + program; exec.Command(path, "-v").Run() == nil {
		return path
	}
	t.Skipf("NOT RUN: %s is not installed (scripts/test.sh installs it)", program)
	return ""
}

// run starts a program that listens on addr, and ends it at the end of the test. The program stays in the test's process group, so that a
// signal to the group ends it, too.
func run(t *testing.T, addr string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case err := <-exited:
			exited <- err
			t.Fatalf("%s: %v: %s", name, err, said)
		default:
		}
		if time.Now().After(limit) {
			t.Fatalf("%s does not listen: %s", name, said)
		}
	}
}

// tail keeps the last few KiB of a program's output.
type tail struct{ text []byte }

func (w *tail) Write(p []byte) (int, error) {
	w.text = append(w.text, p...)
	w.text = w.text[max(0, len(w.text)-4096):]
	return len(p), nil
}

func (w *tail) String() string { return string(w.text) }

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// nginx starts nginx as a proxy in front of backend, with the settings that its documentation recommends for keep-alive upstreams, and returns
// its address.
func nginx(t *testing.T, backend string) string {
	return nginxFor(t, pair{}, backend)
}

// nginxConfig writes a configuration. listen is the argument of the directive.
func nginxConfig(t *testing.T, dir, listen, backend string) string {
	return writeFile(t, "nginx.conf", fmt.Sprintf(`
daemon off; master_process off; error_log stderr crit; pid %[1]s/pid;
events { worker_connections 512; }
http {
	access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	upstream backend { server %[2]s; keepalive 8; }
	server {
		listen %[3]s;
		location / {
			proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
			proxy_buffering off; proxy_request_buffering off;
		}
	}
}`, dir, backend, listen))
}

// haproxy starts haproxy with its defaults in front of backend.
func haproxy(t *testing.T, backend string) string {
	return haproxyFor(t, pair{}, backend)
}

// haproxyConfig writes a configuration. bind and server are the arguments of the directives.
func haproxyConfig(t *testing.T, bind, server string) string {
	return writeFile(t, "haproxy.cfg", fmt.Sprintf(`
global
	maxconn 512
defaults
	mode http
	timeout connect 5s
	timeout client 10s
	timeout server 10s
	timeout http-request 10s
	http-reuse safe
frontend in
	bind %s
	default_backend out
backend out
	server one %s
`, bind, server))
}

// reverseProxy starts an httputil.ReverseProxy that changes as little as possible.
func reverseProxy(t *testing.T, backend string) string {
	return reverseProxyFor(t, pair{}, backend)
}

// counter is a Recorder that only counts.
type counter struct{ n atomic.Int64 }

func (c *counter) Record(*event.Event) { c.n.Add(1) }
func (c *counter) Exclude()            {}

var testDriver = flag.String("driver", string(proxy.DriverAuto), "driver of wayside's proxy: auto, loop or goroutine")

// wayside starts wayside's proxy.
func wayside(t *testing.T, backend string) (addr string, books *counter) {
	return waysideFor(t, "http://"+backend)
}

// waysideFor starts wayside's proxy in front of a URL.
func waysideFor(t *testing.T, upstream string) (addr string, books *counter) {
	books = &counter{}
	p, err := proxy.New(proxy.Options{Upstream: upstream, Driver: proxy.Driver(*testDriver), Recorder: books, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	served := make(chan error, 1)
	go func() { served <- p.Serve(ln) }()
	t.Cleanup(func() {
		if err := p.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String(), books
}

// converse sends raw and reads until the other side closes the connection. ok is false if it does not do so within the time limit.
func converse(t *testing.T, addr, raw string) (answer string, ok bool) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, raw) // a server may close before it has read everything
	b, err := io.ReadAll(conn)
	return string(b), err == nil || len(b) > 0
}
