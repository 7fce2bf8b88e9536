package certs

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/test/testlog"
)

// server speaks TLS with a Store's certificates, and echoes one byte on each connection.
type server struct {
	t     *testing.T
	store *Store
	addr  string
	log   *testlog.Buffer
}

func serve(t *testing.T, o Options) *server {
	t.Helper()
	s := &server{t: t, log: &testlog.Buffer{}}
	s.store = New(slog.New(slog.NewTextHandler(s.log, nil)), nil)
	s.use(o)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				c := tls.Server(conn, s.store.Config())
				var b [1]byte
				if n, _ := c.Read(b[:]); n == 1 {
					_, _ = c.Write(b[:])
				}
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return s
}

func (s *server) use(o Options) {
	s.t.Helper()
	l, err := Load(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.store.Use(l)
}

// connect makes a connection, and sends and receives a byte: with TLS 1.3, only that shows whether the server has accepted the client, and
// delivers session tickets.
func (s *server) connect(c *tls.Config) (tls.ConnectionState, error) {
	conn, err := tls.Dial("tcp", s.addr, c)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte{1}); err != nil {
		return tls.ConnectionState{}, err
	}
	var b [1]byte
	_, err = conn.Read(b[:])
	return conn.ConnectionState(), err
}

func (s *server) leaf(name string) *x509.Certificate {
	s.t.Helper()
	state, err := s.connect(&tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		s.t.Fatal(name, err)
	}
	return state.PeerCertificates[0]
}

func write(t *testing.T, i *certtest.Issued, dir, name string) Pair {
	t.Helper()
	cert, key := i.Write(t, dir, name)
	return Pair{cert, key}
}

func TestChoice(t *testing.T) {
	ca, dir := certtest.NewCA(t, "ca"), t.TempDir()
	pair := func(file string, useRSA bool, names ...string) Pair {
		return write(t, ca.Issue(t, certtest.Leaf{Names: names, Common: file, RSA: useRSA}), dir, file)
	}
	s := serve(t, Options{Pairs: []Pair{
		pair("default", false, "first.example"), pair("exact", false, "A.example.org", "10.0.0.1"), pair("wildcard", false, "*.example.org"), pair("exact-rsa", true, "a.example.org"),
	}})
	for name, want := range map[string]string{
		"": "default", "first.example": "default", "unknown.example": "default", "a.example.org": "exact", "A.EXAMPLE.org": "exact",
		"b.example.org": "wildcard", "c.b.example.org": "default", "example.org": "default", "10.0.0.1": "default", // clients send no address
	} {
		if got := s.leaf(name).Subject.CommonName; got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	// A client that only supports RSA gets the RSA certificate for the name.
	state, err := s.connect(&tls.Config{ServerName: "a.example.org", RootCAs: ca.Pool(), MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}})
	if err != nil || state.PeerCertificates[0].Subject.CommonName != "exact-rsa" {
		t.Error(err)
	}
	if _, err := s.connect(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	if state, err := s.connect(&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}); err != nil || state.NegotiatedProtocol != "http/1.1" {
		t.Error(state.NegotiatedProtocol, err)
	}
	if e := s.store.Expiries(); len(e) != 4 || e[0].Name != "first.example" || e[0].NotAfter.IsZero() {
		t.Error(e)
	}
}

// TestRereadThroughSymlinks: Kubernetes replaces the symbolic link ..data. The certificate's files are links through it, so their modification
// times show nothing.
func TestRereadThroughSymlinks(t *testing.T) {
	ca, dir := certtest.NewCA(t, "ca"), t.TempDir()
	version := func(name string) *certtest.Issued {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		i := ca.Issue(t, certtest.Leaf{Names: []string{"localhost"}, Common: name})
		_, _ = i.Write(t, filepath.Join(dir, name), "tls")
		for _, file := range []string{"tls.crt", "tls.key"} {
			old := time.Unix(1e9, 0)
			if err := os.Chtimes(filepath.Join(dir, name, file), old, old); err != nil {
				t.Fatal(err)
			}
		}
		return i
	}
	link := func(to string) {
		next := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(to, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..one")
	link("..one")
	for _, file := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", file), filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, Options{Pairs: []Pair{{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}}})
	if s.store.Reread() {
		t.Error("unchanged files were read again")
	}
	version("..two")
	link("..two")
	if !s.store.Reread() || s.leaf("localhost").Subject.CommonName != "..two" {
		t.Error("the new certificate is not in use")
	}
}

func TestBadFilesKeepTheCertificate(t *testing.T) {
	ca, dir := certtest.NewCA(t, "ca"), t.TempDir()
	good := ca.Issue(t, certtest.Leaf{Names: []string{"localhost"}, Common: "good"})
	pair := write(t, good, dir, "tls")
	s := serve(t, Options{Pairs: []Pair{pair}})
	other := ca.Issue(t, certtest.Leaf{Names: []string{"localhost"}, Common: "other"})
	expired := ca.Issue(t, certtest.Leaf{Names: []string{"localhost"}, NotBefore: time.Now().Add(-2 * time.Hour), For: time.Hour})
	early := ca.Issue(t, certtest.Leaf{Names: []string{"localhost"}, NotBefore: time.Now().Add(time.Hour)})
	for name, c := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"mismatch": {other.CertPEM, good.KeyPEM, "does not match the key"},
		"expired":  {expired.CertPEM, expired.KeyPEM, "it expired"},
		"early":    {early.CertPEM, early.KeyPEM, "is not valid before"},
		"not PEM":  {[]byte("x"), good.KeyPEM, "no certificate in PEM format"},
		"no key":   {good.CertPEM, nil, "key"},
		"locked":   {good.CertPEM, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), "passphrase"},
	} {
		t.Run(name, func(t *testing.T) {
			certtest.WriteFile(t, pair.CertFile, c.cert)
			certtest.WriteFile(t, pair.KeyFile, c.key)
			before := s.log.Count("keeping the current certificate")
			for range 4 {
				if s.store.Reread() {
					t.Error("the bad pair is in use")
				}
			}
			if n := s.log.Count("keeping the current certificate") - before; n != 1 {
				t.Errorf("logged %d times", n)
			}
			if got := s.leaf("localhost").Subject.CommonName; got != "good" {
				t.Error(got)
			}
			if _, err := Load(Options{Pairs: []Pair{pair}}); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), pair.CertFile) {
				t.Error(err)
			}
		})
	}
	certtest.WriteFile(t, pair.CertFile, other.CertPEM)
	certtest.WriteFile(t, pair.KeyFile, other.KeyPEM)
	if !s.store.Reread() || s.leaf("localhost").Subject.CommonName != "other" {
		t.Error("the repaired pair is not in use")
	}
	if _, err := Load(Options{Pairs: []Pair{{filepath.Join(dir, "none.crt"), filepath.Join(dir, "none.key")}}}); err == nil || !strings.Contains(err.Error(), "none.crt") {
		t.Error(err)
	}
}

// TestTickets: sessions survive a new certificate and a new set of Options. They do not survive a new set of client CAs.
func TestTickets(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		ca, dir := certtest.NewCA(t, "ca"), t.TempDir()
		pair := write(t, ca.Issue(t, certtest.Leaf{Names: []string{"localhost"}}), dir, "tls")
		s := serve(t, Options{Pairs: []Pair{pair}})
		client := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		resumed := func() bool {
			t.Helper()
			state, err := s.connect(client)
			if err != nil {
				t.Fatal(err)
			}
			return state.DidResume
		}
		resumed()
		if !resumed() {
			t.Error("no session is resumed")
		}
		write(t, ca.Issue(t, certtest.Leaf{Names: []string{"localhost"}}), dir, "tls")
		if !s.store.Reread() || !resumed() {
			t.Error("a new certificate ended the sessions")
		}
		s.use(Options{Pairs: []Pair{pair}})
		if !resumed() {
			t.Error("a reload ended the sessions")
		}
		certtest.WriteFile(t, filepath.Join(dir, "ca.pem"), ca.PEM())
		s.use(Options{Pairs: []Pair{pair}, ClientCAFile: filepath.Join(dir, "ca.pem")})
		client.Certificates = []tls.Certificate{ca.Issue(t, certtest.Leaf{Common: "client", Client: true}).TLS}
		if resumed() {
			t.Error("a session from before the client CAs was resumed")
		}
	}
}

func TestClientCertificates(t *testing.T) {
	ca, clients, dir := certtest.NewCA(t, "ca"), certtest.NewCA(t, "clients"), t.TempDir()
	file := filepath.Join(dir, "clients.pem")
	certtest.WriteFile(t, file, clients.PEM())
	now := time.Now()
	var mu sync.Mutex
	s := serve(t, Options{
		Pairs:        []Pair{write(t, ca.Issue(t, certtest.Leaf{Names: []string{"localhost"}}), dir, "tls")},
		ClientCAFile: file,
		Now:          func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
	})
	config := func(i *certtest.Issued) *tls.Config {
		c := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		if i != nil {
			c.Certificates = []tls.Certificate{i.TLS}
		}
		return c
	}
	good := config(clients.Issue(t, certtest.Leaf{Common: "good", Client: true}))
	if _, err := s.connect(good); err != nil {
		t.Error(err)
	}
	if state, err := s.connect(good); err != nil || !state.DidResume {
		t.Error("not resumed:", err)
	}
	for name, c := range map[string]*tls.Config{
		"none":    config(nil),
		"foreign": config(ca.Issue(t, certtest.Leaf{Common: "x", Client: true})),
		"server":  config(clients.Issue(t, certtest.Leaf{Common: "x"})),
		"expired": config(clients.Issue(t, certtest.Leaf{Common: "x", Client: true, NotBefore: now.Add(-2 * time.Hour), For: time.Hour})),
	} {
		if _, err := s.connect(c); err == nil {
			t.Error(name, "was accepted")
		}
	}
	// The client's certificate expires while the session's ticket is still valid.
	mu.Lock()
	now = now.Add(23*time.Hour + 30*time.Minute)
	mu.Unlock()
	if _, err := s.connect(good); err == nil {
		t.Error("a resumed session with an expired certificate was accepted")
	}
	mu.Lock()
	now = time.Now()
	mu.Unlock()
	// A new set of CAs ends the sessions from before.
	if _, err := s.connect(good); err != nil {
		t.Error(err)
	}
	certtest.WriteFile(t, file, ca.PEM())
	if !s.store.Reread() {
		t.Fatal("the CAs were not read again")
	}
	if _, err := s.connect(good); err == nil {
		t.Error("a client of the former CA was accepted")
	}
	certtest.WriteFile(t, file, []byte("nothing"))
	for range 3 {
		s.store.Reread()
	}
	if n := s.log.Count("keeping the current CAs"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if _, err := s.connect(config(ca.Issue(t, certtest.Leaf{Common: "x", Client: true}))); err != nil {
		t.Error("the CAs in use are gone:", err)
	}
}

func TestClientName(t *testing.T) {
	ca := certtest.NewCA(t, "ca")
	for want, l := range map[string]certtest.Leaf{
		"a.example":    {Names: []string{"a.example"}, URIs: []string{"spiffe://x/y"}, Common: "common"},
		"spiffe://x/y": {URIs: []string{"spiffe://x/y"}, Common: "common"},
		"common":       {Common: "common"},
		"":             {Common: "a\r\nX-Admin: 1"},
	} {
		l.Client = true
		leaf := ca.Issue(t, l).TLS.Leaf
		state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf}}}
		if got := ClientName(state); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		state.VerifiedChains = nil
		if got := ClientName(state); got != "" {
			t.Errorf("%q of a certificate that was not verified", got)
		}
	}
}

// TestSwapsUnderLoad: certificates are replaced under load, and no handshake fails.
func TestSwapsUnderLoad(t *testing.T) {
	ca, dir := certtest.NewCA(t, "ca"), t.TempDir()
	var issued []*certtest.Issued
	for range 4 {
		issued = append(issued, ca.Issue(t, certtest.Leaf{Names: []string{"localhost"}}))
	}
	pair := write(t, issued[0], dir, "tls")
	s := serve(t, Options{Pairs: []Pair{pair}})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		client := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
		if i == 0 {
			client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.connect(client); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 100 {
		if i%2 == 0 {
			write(t, issued[i/2%4], dir, "tls")
			s.store.Reread()
		} else {
			s.use(Options{Pairs: []Pair{pair}})
		}
	}
	close(stop)
	wg.Wait()
}
