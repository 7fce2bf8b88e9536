package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/proxy"
	"github.com/wayside-proxy/wayside/proxy/certs"
	"github.com/wayside-proxy/wayside/test/toolbin"
)

// authority is a running pebble.
type authority struct {
	directory string
	own       *x509.CertPool // trusted for the directory
	roots     *x509.CertPool // of the certificates that it issues
	tlsAddr   string         // where it validates
	httpAddr  string
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

func port(addr string) int { return int(netip.MustParseAddrPort(addr).Port()) }

// startAuthority builds and starts pebble. Every name has the address 127.0.0.1.
func startAuthority(t *testing.T) *authority {
	t.Helper()
	if testing.Short() {
		t.Skip("builds an ACME authority")
	}
	binary, err := toolbin.Binary("pebble", "pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ca := certtest.NewCA(t, "pebble's own")
	cert, key := ca.Issue(t, certtest.Leaf{Names: []string{"127.0.0.1"}}).Write(t, dir, "pebble")
	listen, manage := freeAddr(t), freeAddr(t)
	a := &authority{directory: "https://" + listen + "/dir", own: ca.Pool(), tlsAddr: freeAddr(t), httpAddr: freeAddr(t)}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": manage, "certificate": cert, "privateKey": key,
		"httpPort": port(a.httpAddr), "tlsPort": port(a.tlsAddr), "profiles": map[string]any{"default": map[string]any{"description": "d", "validityPeriod": 90 * 86400}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	certtest.WriteFile(t, filepath.Join(dir, "pebble.json"), config)
	cmd := exec.Command(binary, "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", serveNames(t))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	a.readRoot(t, "https://"+manage+"/roots/0")
	return a
}

func (a *authority) readRoot(t *testing.T, url string) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.own}, DisableKeepAlives: true}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { //nolint:forbidigo // waits for a condition
		resp, err := (&http.Client{Transport: tr}).Get(url)
		if err == nil {
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if a.roots, err = certs.ParseCAs(b); err == nil {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// serveNames answers DNS queries for addresses with 127.0.0.1. pebble asks over TCP.
func serveNames(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go answerNames(conn)
		}
	}()
	return ln.Addr().String()
}

func answerNames(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		buf := make([]byte, binary.BigEndian.Uint16(size[:]))
		var m dnsmessage.Message
		if _, err := io.ReadFull(conn, buf); err != nil || m.Unpack(buf) != nil || len(m.Questions) != 1 {
			return
		}
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			}}
		}
		b, err := m.Pack()
		if err != nil {
			return
		}
		_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	}
}

// logLines is a log that counts.
type logLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logLines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// serve runs a real proxy with the certificates of a Manager, where the authority looks.
func (a *authority) serve(t *testing.T, m *Manager) {
	t.Helper()
	loaded, err := certs.Load(certs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	store := certs.New(slog.Default(), m)
	store.Use(loaded)
	p, err := proxy.New(proxy.Options{Upstream: "http://127.0.0.1:1", TLS: &proxy.TLSOptions{Config: store.Config, HTTPChallenge: m.HTTPChallenge}})
	if err != nil {
		t.Fatal(err)
	}
	for addr, serve := range map[string]func(net.Listener) error{a.tlsAddr: p.ServeTLS, a.httpAddr: p.ServeRedirect} {
		ln, err := proxy.Listen(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = serve(ln) }()
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = p.Shutdown(ctx)
	})
}

// connect makes a handshake as a browser that trusts the authority.
func (a *authority) connect(name string) (*x509.Certificate, error) {
	conn, err := tls.Dial("tcp", a.tlsAddr, &tls.Config{ServerName: name, RootCAs: a.roots})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0], nil
}

func TestIssueRenewRestart(t *testing.T) {
	a := startAuthority(t)
	log := &logLines{}
	now := time.Now()
	o := Options{
		Dir: filepath.Join(t.TempDir(), "acme"), Hosts: []string{"a.example.test", "b.example.test"}, Directory: a.directory, CAs: a.own, Email: "ops@example.test",
		HTTP: true, Logger: slog.New(slog.NewTextHandler(log, nil)), Now: func() time.Time { return now },
	}
	m := New(o)
	a.serve(t, m)
	if _, err := a.connect("a.example.test"); err == nil {
		t.Error("a handshake succeeded without a certificate")
	}
	m.attempts["b.example.test"] = attempt{Failures: 1} // its second attempt is by HTTP-01
	m.RenewOnce(t.Context())
	first := map[string]string{}
	for _, host := range o.Hosts {
		cert, err := a.connect(host)
		if err != nil {
			t.Fatal(host, err, log.b.String())
		}
		first[host] = cert.SerialNumber.String()
	}
	if _, err := a.connect("other.example.test"); err == nil {
		t.Error("a handshake for a host that is not configured succeeded")
	}
	files, err := os.ReadDir(o.Dir)
	if err != nil || len(files) != 4 {
		t.Error(files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode() != 0o600 {
			t.Error(f, err)
		}
	}
	m.RenewOnce(t.Context())
	if n := log.count("certificate issued"); n != 2 {
		t.Errorf("%d certificates were issued", n)
	}

	again := New(o) // a restart asks for nothing
	again.RenewOnce(t.Context())
	if n := log.count("certificate issued"); n != 2 || again.Certificate("") == nil || again.Certificate("b.example.test") == nil {
		t.Errorf("%d certificates were issued", n)
	}

	now = now.Add(65 * 24 * time.Hour)
	m.RenewOnce(t.Context())
	for _, host := range o.Hosts {
		if cert, err := a.connect(host); err != nil || cert.SerialNumber.String() == first[host] {
			t.Error(host, "was not renewed:", err)
		}
	}
}

// While the authority is away, the certificates in use stay, and wayside tries again after pauses that survive a restart.
func TestAuthorityAway(t *testing.T) {
	log := &logLines{}
	now := time.Now()
	o := Options{
		Dir: filepath.Join(t.TempDir(), "acme"), Hosts: []string{"a.example.test"}, Directory: "https://" + freeAddr(t) + "/dir",
		Logger: slog.New(slog.NewTextHandler(log, nil)), Now: func() time.Time { return now },
	}
	ca := certtest.NewCA(t, "earlier")
	old := ca.Issue(t, certtest.Leaf{Names: []string{"a.example.test"}})
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	certtest.WriteFile(t, filepath.Join(o.Dir, "a.example.test.pem"), append(old.CertPEM, old.KeyPEM...))
	var m *Manager
	step := func(restart bool, want int) {
		t.Helper()
		if restart {
			m = New(o)
		}
		m.RenewOnce(t.Context())
		if n := log.count("no certificate from the authority"); n != want {
			t.Errorf("%d attempts, want %d", n, want)
		}
		if m.Certificate("a.example.test") == nil {
			t.Error("the old certificate is gone")
		}
	}
	step(true, 0) // it is good for some hours
	now = now.Add(20 * time.Hour)
	step(false, 1)
	step(false, 1)
	step(true, 1)
	now = now.Add(firstPause)
	step(true, 2)
	now = now.Add(firstPause)
	step(true, 2)
	now = now.Add(firstPause)
	step(false, 3)
	if a := (attempt{Failures: 100}).next(now); a.NotBefore.Sub(now) != maxPause {
		t.Error(a)
	}
}

func TestOtherHostsAreForgotten(t *testing.T) {
	o := Options{Dir: t.TempDir(), Hosts: []string{"a.example.test"}, Logger: slog.Default()}
	old := certtest.NewCA(t, "ca").Issue(t, certtest.Leaf{Names: []string{"a.example.test"}})
	certtest.WriteFile(t, filepath.Join(o.Dir, "a.example.test.pem"), append(old.CertPEM, old.KeyPEM...))
	m := New(o)
	if m.Certificate("a.example.test") == nil {
		t.Error("the certificate is not read")
	}
	o.Hosts = []string{"b.example.test"}
	m.Use(o)
	if m.Certificate("a.example.test") != nil {
		t.Error("the certificate of a host that is not configured any more is in use")
	}
}
