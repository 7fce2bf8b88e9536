package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/proxy/certs"
)

// testPKI contains the certificates that the tests over TLS share.
type testPKI struct {
	ca     *certtest.CA
	server *certs.Store
	client *tls.Config
}

var (
	pkiOnce sync.Once
	pki     *testPKI
)

// testCertificates returns a server certificate for localhost and 127.0.0.1, and the configuration of a client that trusts it.
func testCertificates(t testing.TB) *testPKI {
	t.Helper()
	pkiOnce.Do(func() {
		ca := certtest.NewCA(t, "test")
		cert, key := ca.Issue(t, certtest.Leaf{Names: []string{"localhost", "example.com"}}).Write(t, t.TempDir(), "server")
		loaded, err := certs.Load(certs.Options{Pairs: []certs.Pair{{CertFile: cert, KeyFile: key}}, HTTP2: true})
		if err != nil {
			t.Fatal(err)
		}
		pki = &testPKI{ca: ca, server: certs.New(slog.Default(), nil)}
		pki.server.Use(loaded)
		pki.client = &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	})
	return pki
}

// overTLSOptions makes a proxy speak TLS.
func overTLSOptions(t *testing.T, change func(*Options)) func(*Options) {
	return func(o *Options) {
		o.TLS = &TLSOptions{Config: testCertificates(t).server.Config, Port: 443}
		if change != nil {
			change(o)
		}
	}
}

func TestTLSRequest(t *testing.T) {
	b := start(t, echoHead(t), overTLSOptions(t, func(o *Options) { o.TLS.HSTS = 24 * time.Hour }))
	b.responses = 2
	c := b.dial()
	resp, body := c.get("/a")
	if !strings.Contains(body, "X-Forwarded-Proto: https\r\n") || !strings.Contains(body, ";proto=https\r\n") {
		t.Error(body)
	}
	if got := resp.Header.Values("Strict-Transport-Security"); len(got) != 1 || got[0] != "max-age=86400" {
		t.Error(got)
	}
	c.send("BAD\x01 / HTTP/1.1\r\n\r\n")
	if resp, _ = c.receive("GET"); resp.StatusCode != 400 || resp.Header.Get("Strict-Transport-Security") == "" {
		t.Error(resp)
	}
	if n, err := c.conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Error("the connection does not end with close_notify:", n, err)
	}
	for _, e := range b.books.wait(t, 2) {
		if e.TLSVersion != tls.VersionTLS13 {
			t.Errorf("%+v", e)
		}
	}
	m := b.p.TLSMetrics()
	done := int64(0)
	for _, h := range m.Handshakes {
		done += h.Count
	}
	if done != 1 {
		t.Error(m)
	}
}

// TestHSTSOfTheService: if the service sends Strict-Transport-Security, the service's field stays.
func TestHSTSOfTheService(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("strict-transport-security", "max-age=1; includeSubDomains")
	})
	b := start(t, url, overTLSOptions(t, func(o *Options) { o.TLS.HSTS = 24 * time.Hour }))
	b.responses = 1
	resp, _ := b.dial().get("/")
	if got := resp.Header.Values("Strict-Transport-Security"); len(got) != 1 || got[0] != "max-age=1; includeSubDomains" {
		t.Error(got)
	}
}

func TestPlainRequestOnATLSPort(t *testing.T) {
	b := start(t, echoHead(t), overTLSOptions(t, nil))
	b.responses = 1
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t, conn, bufio.NewReader(conn)}
	resp, body := c.get("/secret?x=1")
	if resp.StatusCode != 400 || !resp.Close || !strings.Contains(body, "This port speaks TLS") {
		t.Error(resp, body)
	}
	if e := b.books.wait(t, 1)[0]; string(e.ErrorType) != "tls_required" || e.TLSVersion != 0 || string(e.Path) != "/secret" || string(e.Host) != "example.com" {
		t.Errorf("%+v", e)
	}
	_ = conn.Close()
}

// failHandshake makes a handshake that fails.
func (b *bench) failHandshake(c *tls.Config) {
	b.t.Helper()
	conn, err := tls.Dial("tcp", b.addr, c)
	if err == nil { // with TLS 1.3, the client learns of the failure only when it reads
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	if err == nil {
		b.t.Error("the handshake did not fail")
	}
}

// mutualTLS returns certificates for a listener that accepts clients of the tests' authority only.
func mutualTLS(t *testing.T) *certs.Store {
	t.Helper()
	pki, dir := testCertificates(t), t.TempDir()
	cert, key := pki.ca.Issue(t, certtest.Leaf{Names: []string{"localhost"}}).Write(t, dir, "tls")
	certtest.WriteFile(t, filepath.Join(dir, "ca.pem"), pki.ca.PEM())
	loaded, err := certs.Load(certs.Options{Pairs: []certs.Pair{{CertFile: cert, KeyFile: key}}, ClientCAFile: filepath.Join(dir, "ca.pem")})
	if err != nil {
		t.Fatal(err)
	}
	store := certs.New(slog.Default(), nil)
	store.Use(loaded)
	return store
}

func TestHandshakeFailures(t *testing.T) {
	pki := testCertificates(t)
	mutual, none := mutualTLS(t), certs.New(slog.Default(), nil)
	b := start(t, echoHead(t), overTLSOptions(t, func(o *Options) { o.TLS.Config = mutual.Config }))
	hasty := start(t, echoHead(t), overTLSOptions(t, func(o *Options) { o.HeaderTimeout = 300 * time.Millisecond }))
	empty := start(t, echoHead(t), overTLSOptions(t, func(o *Options) { o.TLS.Config = none.Config }))
	raw := func(b *bench, text string) {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, text)
		if text == "" {
			_ = conn.Close()
			return
		}
		_, _ = io.ReadAll(conn)
		_ = conn.Close()
	}
	trusting := func(change func(*tls.Config)) *tls.Config {
		c := pki.client.Clone()
		c.ClientSessionCache = nil
		change(c)
		return c
	}
	foreign := certtest.NewCA(t, "foreign").Issue(t, certtest.Leaf{Common: "x", Client: true})
	for _, c := range []struct {
		b    *bench
		why  handshakeFailure
		fail func()
	}{
		{b, handshakeClosed, func() { raw(b, "") }},
		{b, handshakeNotTLS, func() { raw(b, "\x80\x2e\x01\x03\x01\x00\x00") }},
		{hasty, handshakeTimeout, func() { raw(hasty, "\x16\x03\x01") }},
		{b, handshakeVersion, func() {
			b.failHandshake(trusting(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }))
		}},
		{b, handshakeCipher, func() {
			b.failHandshake(trusting(func(c *tls.Config) {
				c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}
			}))
		}},
		{b, handshakeALPN, func() { b.failHandshake(trusting(func(c *tls.Config) { c.NextProtos = []string{"unknown"} })) }},
		{b, handshakeClientCertificate, func() { b.failHandshake(trusting(func(*tls.Config) {})) }},
		{b, handshakeClientCertificate, func() {
			b.failHandshake(trusting(func(c *tls.Config) { c.Certificates = []tls.Certificate{foreign.TLS} }))
		}},
		{b, handshakeRefused, func() { b.failHandshake(&tls.Config{ServerName: "localhost"}) }},
		{empty, handshakeNoCertificate, func() { empty.failHandshake(trusting(func(*tls.Config) {})) }},
	} {
		before := c.b.p.tls.failed[c.why].Load()
		c.fail()
		until(t, handshakeNames[c.why]+" is counted", func() bool { return c.b.p.tls.failed[c.why].Load() == before+1 })
	}
	if n := b.log.Count("a TLS handshake failed"); n != 1 {
		t.Errorf("logged %d times: %s", n, b.log.String())
	}
	if n := b.p.tls.failed[handshakeOther].Load(); n != 0 {
		t.Errorf("%d failures are not classified: %s", n, b.log.String())
	}
}

// TestSlowHandshakesHoldNobodyUp: clients that send their part of the handshake slowly do not delay others, however few handshakes may
// compute at a time.
func TestSlowHandshakesHoldNobodyUp(t *testing.T) {
	b := start(t, echoHead(t), overTLSOptions(t, func(o *Options) { o.Loops = 1 }))
	b.responses = 4
	for range 20 {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "\x16\x03\x01\x00\x80\x01") // the beginning of a ClientHello
	}
	for range 4 {
		b.dial().get("/")
	}
}

func TestTLSLimits(t *testing.T) {
	b := start(t, echoHead(t), overTLSOptions(t, func(o *Options) { o.MaxConnsPerAddress = 2 }))
	b.responses = 3
	one, two := b.dial(), b.dial()
	one.get("/")
	two.get("/")
	if conn, err := b.connect(); err == nil {
		_ = conn.Close()
		t.Error("a third connection was accepted")
	}
	until(t, "it is counted", func() bool { return b.p.Metrics().Failures["address_connections_max"] == 1 })
	_ = one.conn.Close()
	until(t, "its connection is closed", func() bool { return b.p.Metrics().ClientConns == 1 })
	b.dial().get("/")
}

// TestSilentTLSConnectionsGiveWay: connections that are silent before or during the handshake are closed if there is no room.
func TestSilentTLSConnectionsGiveWay(t *testing.T) {
	b := start(t, echoHead(t), overTLSOptions(t, func(o *Options) { o.MaxConns = 64 }))
	b.responses = 1
	for i := range 64 {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i/2))}}).Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if i%2 == 0 {
			_, _ = io.WriteString(conn, "\x16\x03\x01\x00\x80\x01")
		}
	}
	until(t, "all are admitted", func() bool { return b.p.Metrics().ClientConns == 64 })
	b.dial().get("/")
}

// TestTLSClientLeaves: a client that leaves with an alert, as TLS clients do, is noticed while the upstream is working.
func TestTLSClientLeaves(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		entered := make(chan struct{})
		b := start(t, origin(t, func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
		}), overTLSOptions(t, nil))
		b.responses = 1
		config := testCertificates(t).client.Clone()
		config.MaxVersion = version
		conn, err := tls.Dial("tcp", b.addr, config)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		<-entered
		_ = conn.Close()
		if e := b.books.wait(t, 1)[0]; e.Status != 499 || string(e.ErrorType) != "client_closed" {
			t.Errorf("%+v", e)
		}
	}
}

// TestCertificateSwapsUnderLoad: certificates are replaced while clients are connecting and sending requests. No request fails.
func TestCertificateSwapsUnderLoad(t *testing.T) {
	pki := testCertificates(t)
	dir := t.TempDir()
	var issued []*certtest.Issued
	for range 4 {
		issued = append(issued, pki.ca.Issue(t, certtest.Leaf{Names: []string{"localhost"}}))
	}
	cert, key := issued[0].Write(t, dir, "tls")
	o := certs.Options{Pairs: []certs.Pair{{CertFile: cert, KeyFile: key}}}
	store := certs.New(slog.Default(), nil)
	use := func() {
		loaded, err := certs.Load(o)
		if err != nil {
			t.Error(err)
			return
		}
		store.Use(loaded)
	}
	use()
	b := start(t, echoHead(t), overTLSOptions(t, func(o *Options) { o.TLS.Config = store.Config }))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var answered atomic.Int64
	for i := range 4 {
		config := pki.client.Clone()
		if i > 0 {
			config.ClientSessionCache = nil
		}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := tls.Dial("tcp", b.addr, config)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || resp.StatusCode != 200 {
					t.Error(resp, err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = conn.Close()
				answered.Add(1)
			}
		})
	}
	for i := range 100 {
		issued[i%4].Write(t, dir, "tls")
		if i%2 == 0 {
			store.Reread()
		} else {
			use()
		}
		if i%10 == 0 {
			if err := b.p.Reload(b.p.current.Load().o); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	wg.Wait()
	b.responses = int(answered.Load())
}
