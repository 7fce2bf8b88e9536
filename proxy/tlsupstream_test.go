package proxy

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority of " + t.Name()}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	return a
}

// issue signs a certificate with the parent's key or, if parent is nil, with its own key.
func (a *authority) issue(template, parent *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// pair returns a certificate for 127.0.0.1 and these names.
func (a *authority) pair(notAfter time.Time, names ...string) tls.Certificate {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "a server or client"}, DNSNames: names, NotAfter: notAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if len(names) == 0 {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	cert, key := a.issue(template, a.cert)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// files writes a pair to files and returns their names.
func (a *authority) files(dir string, pair tls.Certificate) (certFile, keyFile string) {
	a.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.file(dir, "pair.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		a.file(dir, "pair.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (a *authority) file(dir, name string, content []byte) string {
	a.t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// serveTLS serves h with TLS.
func serveTLS(t *testing.T, config *tls.Config, h http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(tls.NewListener(ln, config)) }()
	t.Cleanup(func() { _ = server.Close() })
	return "https://" + ln.Addr().String()
}

// TestUpstreamTLS: requests and responses of all sizes pass through TLS, over few connections.
func TestUpstreamTLS(t *testing.T) {
	a := newAuthority(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	serve := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method == "POST" {
			if !bytes.Equal(body, big) {
				w.WriteHeader(400)
			}
			return
		}
		switch r.URL.Path {
		case "/small":
			_, _ = io.WriteString(w, "small")
		case "/length":
			w.Header().Set("Content-Length", "1048576")
			_, _ = w.Write(big)
		default:
			_, _ = w.Write(big)
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		url := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.pair(time.Time{})}, MaxVersion: version}, serve)
		b := startGroup(t, Group{Servers: []Server{{URL: url}}, TLS: UpstreamTLS{CAFile: a.file(t.TempDir(), "ca.pem", a.pem)}}, nil)
		var wg sync.WaitGroup
		var closed atomic.Int64
		for range 4 {
			c := b.dial()
			// If the response is here long before wayside notices that it has sent the whole body, it closes both connections.
			receive := func() {
				resp, _ := c.receive("POST")
				if resp.StatusCode != 200 {
					t.Error(resp.Status)
				}
				if resp.Close {
					closed.Add(1)
					c = b.dial()
				}
			}
			wg.Go(func() {
				for range 5 {
					if resp, body := c.get("/small"); resp.StatusCode != 200 || body != "small" {
						t.Error(resp.Status, body)
					}
					for _, path := range []string{"/length", "/chunked"} {
						if resp, body := c.get(path); resp.StatusCode != 200 || body != string(big) {
							t.Error(path, resp.Status, len(body))
						}
					}
					c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n" + string(big))
					receive()
					c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n" + string(big) + "\r\n0\r\n\r\n")
					receive()
				}
			})
		}
		wg.Wait()
		if m := b.p.Metrics(); m.Responses[2] != 100 || m.Upstreams[0].Connects > 8+closed.Load() {
			t.Errorf("%d responses over %d connections", m.Responses[2], m.Upstreams[0].Connects)
		}
	}
}

// TestUpstreamTLSFailures: for each way in which TLS can fail, the reason is logged, and there is one error type for all of them.
func TestUpstreamTLSFailures(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	ca := a.file(dir, "ca.pem", a.pem)
	nothing := func(http.ResponseWriter, *http.Request) {}
	serve := func(config *tls.Config) string { return serveTLS(t, config, nothing) }
	with := func(pair tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{pair}} }
	mutual := func(version uint16) *tls.Config {
		config := with(a.pair(time.Time{}))
		config.ClientAuth, config.ClientCAs, config.MaxVersion = tls.RequireAndVerifyClientCert, other.pool(), version
		return config
	}
	old := with(a.pair(time.Time{}))
	old.MaxVersion = tls.VersionTLS11
	old.MinVersion = tls.VersionTLS10
	for name, c := range map[string]struct{ url, kind, reason string }{
		"authority":   {serve(with(other.pair(time.Time{}))), "upstream_tls", "from an authority that is not trusted"},
		"name":        {serve(with(a.pair(time.Time{}, "other.example"))), "upstream_tls", "is for another name"},
		"expired":     {serve(with(a.pair(time.Now().Add(-time.Minute)))), "upstream_tls", "has expired"},
		"plain":       {strings.Replace(origin(t, nothing), "http:", "https:", 1), "upstream_tls", "does not speak TLS"},
		"client 1.2":  {serve(mutual(tls.VersionTLS12)), "upstream_tls", "refused the handshake"},
		"client 1.3":  {serve(mutual(tls.VersionTLS13)), "upstream_tls", "certificate required"},
		"old version": {serve(old), "upstream_tls", "refused the handshake"},
		"closes": {
			strings.Replace(rawOrigin(t, func(net.Conn, *bufio.Reader) {}), "http:", "https:", 1), "upstream_tls",
			"during the TLS handshake",
		},
		"silent": {
			strings.Replace(rawOrigin(t, func(_ net.Conn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) }), "http:", "https:", 1), "upstream_tls",
			"not completed within proxy.connect_timeout",
		},
		"refused": {strings.Replace(deadAddr(t), "http:", "https:", 1), "connect_refused", "connection refused"},
	} {
		b := startGroup(t, Group{Servers: []Server{{URL: c.url}}, TLS: UpstreamTLS{CAFile: ca}}, func(o *Options) {
			if name == "silent" {
				o.ConnectTimeout = 50 * time.Millisecond
			}
		})
		if resp, body := b.dial().get("/"); resp.StatusCode != 502 || strings.Contains(body, "TLS") {
			t.Error(name, resp.Status, body)
		}
		if e := b.expect(0, 502, c.kind); string(e.ErrorType) != c.kind {
			t.Log(name)
		}
		until(t, name+" is logged", func() bool { return strings.Contains(b.log.String(), c.reason) })
	}
}

// TestUpstreamTLSOptions tests a client certificate, a different server name, and no verification at all.
func TestUpstreamTLSOptions(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	ca := a.file(dir, "ca.pem", a.pem)
	cert, key := a.files(dir, a.pair(time.Time{}, "client"))
	config := &tls.Config{
		Certificates: []tls.Certificate{a.pair(time.Time{}, "app.test")}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: a.pool(),
	}
	url := serveTLS(t, config, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.TLS.ServerName+" "+r.TLS.NegotiatedProtocol)
		for _, c := range r.TLS.PeerCertificates {
			_, _ = io.WriteString(w, " "+c.DNSNames[0])
		}
	})
	for _, c := range []struct {
		o    UpstreamTLS
		want string
	}{
		{UpstreamTLS{CAFile: ca, ServerName: "app.test"}, "app.test "},
		{UpstreamTLS{CAFile: ca, ServerName: "app.test", CertFile: cert, KeyFile: key}, "app.test  client"},
		{UpstreamTLS{Insecure: true}, " "},
	} {
		b := startGroup(t, Group{Servers: []Server{{URL: url}}, TLS: c.o}, nil)
		if resp, body := b.dial().get("/"); resp.StatusCode != 200 || body != c.want {
			t.Errorf("%+v: %s %q, want %q", c.o, resp.Status, body, c.want)
		}
	}
}

// TestUpstreamTLSFilesChange: files are read again when they change; if the new ones cannot be used, the old ones stay in effect.
func TestUpstreamTLSFilesChange(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	ca := a.file(dir, "ca.pem", a.pem)
	url := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.pair(time.Time{})}}, func(http.ResponseWriter, *http.Request) {})
	b := startGroup(t, Group{Servers: []Server{{URL: url}}, TLS: UpstreamTLS{CAFile: ca}}, nil)
	ask := func() int {
		resp, _ := b.dial().get("/")
		return resp.StatusCode
	}
	g := b.p.current.Load().group
	credentials := g.members.Load().all[0].key.credentials
	for i, step := range []struct {
		content []byte
		status  int
		idle    int64
	}{{a.pem, 200, 1}, {[]byte("nonsense"), 200, 1}, {other.pem, 502, 0}, {append(a.pem, other.pem...), 200, 1}} {
		a.file(dir, "ca.pem", step.content)
		g.readFiles(credentials)
		if got := ask(); got != step.status {
			t.Errorf("step %d: %d", i, got)
		}
		if s := b.state(url); s.Idle != step.idle {
			t.Errorf("step %d: %+v", i, s)
		}
		if i == 1 {
			until(t, "the reason is logged", func() bool { return strings.Contains(b.log.String(), "contains no certificate") })
		}
	}
}

// TestUpstreamTLSUnexpectedBytes: bytes that nobody asked for must not be taken for the response to the next request.
func TestUpstreamTLSUnexpectedBytes(t *testing.T) {
	a := newAuthority(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{a.pair(time.Time{})}})
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{}, 10)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				br := bufio.NewReader(conn)
				for {
					if _, err := http.ReadRequest(br); err != nil {
						return
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
					sent <- struct{}{}
				}
			}()
		}
	}()
	t.Cleanup(func() { _ = ln.Close() })
	b := startGroup(t, Group{Servers: []Server{{URL: "https://" + ln.Addr().String()}}, TLS: UpstreamTLS{CAFile: a.file(t.TempDir(), "ca.pem", a.pem)}}, nil)
	c := b.dial()
	for range 10 {
		if resp, body := c.get("/"); resp.StatusCode != 200 || body != "ok" {
			t.Error(resp.Status, body)
		}
		<-sent
	}
}

// TestUpstreamTLSUpgrade: an upgraded connection passes bytes and its half-close through TLS.
func TestUpstreamTLSUpgrade(t *testing.T) {
	a := newAuthority(t)
	url := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.pair(time.Time{})}}, func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, rw)
		_, _ = io.WriteString(conn, "end")
	})
	b := startGroup(t, Group{Servers: []Server{{URL: url}}, TLS: UpstreamTLS{CAFile: a.file(t.TempDir(), "ca.pem", a.pem)}}, nil)
	c := b.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if resp, err := http.ReadResponse(c.br, nil); err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	text := strings.Repeat("over TLS ", 20_000)
	go func() {
		_, _ = io.WriteString(c.conn, text)
		_ = c.tcp().CloseWrite()
	}()
	got, err := io.ReadAll(c.br)
	if err != nil || string(got) != text+"end" {
		t.Errorf("%d bytes of %d, %v", len(got), len(text)+3, err)
	}
}

// TestChecksOfAllKinds: active checks connect in the same way as requests: over TLS, and to Unix sockets.
func TestChecksOfAllKinds(t *testing.T) {
	a := newAuthority(t)
	ready := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ready" {
			w.WriteHeader(500)
		}
	}
	encrypted := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.pair(time.Time{})}}, ready)
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(ready)}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	check := Check{Path: "/ready", Every: 20 * time.Millisecond, Fails: 1}
	b := startGroup(t, Group{
		Servers: []Server{{URL: encrypted}, {URL: "unix://" + path}}, Check: check,
		TLS: UpstreamTLS{CAFile: a.file(t.TempDir(), "ca.pem", a.pem)},
	}, nil)
	for _, url := range []string{encrypted, "unix:" + path} {
		until(t, "checks of "+url, func() bool { return b.state(url).Checks > 3 })
		if s := b.state(url); s.Failed != 0 || s.State != "up" {
			t.Errorf("%+v", s)
		}
	}
}
