package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/proxy"
	"github.com/wayside-proxy/wayside/proxy/certs"
	"github.com/wayside-proxy/wayside/test/acmetest"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/testlog"
)

// serve runs a real proxy with a Manager's certificates, at the address at which the authority validates hosts.
func serve(t *testing.T, a *acmetest.Authority, m *Manager) {
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
	for addr, serve := range map[string]func(net.Listener) error{a.TLSAddr: p.ServeTLS, a.HTTPAddr: p.ServeRedirect} {
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

// connect makes a handshake like a browser that trusts the authority.
func connect(a *acmetest.Authority, name string) (*x509.Certificate, error) {
	conn, err := tls.Dial("tcp", a.TLSAddr, &tls.Config{ServerName: name, RootCAs: a.Roots})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0], nil
}

func TestIssueRenewRestart(t *testing.T) {
	a := acmetest.Start(t)
	log := &testlog.Buffer{}
	now := time.Now()
	o := Options{
		Dir: filepath.Join(t.TempDir(), "acme"), Hosts: []string{"a.example.test", "b.example.test"}, Directory: a.Directory, CAs: a.CA.Pool(), Email: "ops@example.test",
		HTTP: true, Logger: slog.New(slog.NewTextHandler(log, nil)), Now: func() time.Time { return now },
	}
	m := New(o)
	serve(t, a, m)
	if _, err := connect(a, "a.example.test"); err == nil {
		t.Error("a handshake succeeded without a certificate")
	}
	m.attempts["b.example.test"] = attempt{Failures: 1} // so that the next attempt uses HTTP-01
	m.RenewOnce(t.Context())
	first := map[string]string{}
	for _, host := range o.Hosts {
		cert, err := connect(a, host)
		if err != nil {
			t.Fatal(host, err, log.String())
		}
		first[host] = cert.SerialNumber.String()
	}
	if _, err := connect(a, "other.example.test"); err == nil {
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
	if n := log.Count("certificate issued"); n != 2 {
		t.Errorf("%d certificates were issued", n)
	}

	again := New(o) // after a restart, nothing is requested
	again.RenewOnce(t.Context())
	if n := log.Count("certificate issued"); n != 2 || again.Certificate("") == nil || again.Certificate("b.example.test") == nil {
		t.Errorf("%d certificates were issued", n)
	}

	now = now.Add(65 * 24 * time.Hour)
	m.RenewOnce(t.Context())
	for _, host := range o.Hosts {
		if cert, err := connect(a, host); err != nil || cert.SerialNumber.String() == first[host] {
			t.Error(host, "was not renewed:", err)
		}
	}
}

// TestAuthorityAway: while the authority cannot be reached, the certificates stay in use, and wayside tries again after pauses that survive a
// restart.
func TestAuthorityAway(t *testing.T) {
	log := &testlog.Buffer{}
	now := time.Now()
	authority := loopback.Free(t)
	o := Options{
		Dir: filepath.Join(t.TempDir(), "acme"), Hosts: []string{"a.example.test"}, Directory: "https://" + authority + "/dir",
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
		if n := log.Count("cannot obtain a certificate from the authority"); n != want {
			t.Errorf("%d attempts, want %d", n, want)
		}
		if m.Certificate("a.example.test") == nil {
			t.Error("the old certificate is gone")
		}
	}
	step(true, 0) // the new certificate is valid for some hours
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
