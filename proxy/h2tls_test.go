package proxy

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/proxy/certs"
)

// TestHTTP2OverTLS: over TLS, ALPN selects the protocol. Streams have the same information about the client as their connection.
func TestHTTP2OverTLS(t *testing.T) {
	ca := certtest.NewCA(t, "test")
	cert, key := ca.Issue(t, certtest.Leaf{Names: []string{"localhost"}}).Write(t, t.TempDir(), "server")
	loaded, err := certs.Load(certs.Options{Pairs: []certs.Pair{{CertFile: cert, KeyFile: key}}, HTTP2: true})
	if err != nil {
		t.Fatal(err)
	}
	store := certs.New(slog.Default(), nil)
	store.Use(loaded)
	b := start(t, echoHead(t), overTLSOptions(t, func(o *Options) { o.TLS.Config = store.Config }))
	b.responses = 3
	trusting := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
	two := &http.Transport{TLSClientConfig: trusting.Clone(), ForceAttemptHTTP2: true}
	defer two.CloseIdleConnections()
	one := &http.Transport{TLSClientConfig: trusting.Clone()}
	defer one.CloseIdleConnections()
	for i, test := range []struct {
		client http.RoundTripper
		proto  string
	}{{two, "2"}, {one, "1.1"}} {
		resp, err := (&http.Client{Transport: test.client}).Get("https://" + b.addr + "/a")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || !strings.Contains(string(body), "X-Forwarded-Proto: https\r\n") || !strings.Contains(string(body), ";proto=https\r\n") {
			t.Error(string(body), err)
		}
		if e := b.books.wait(t, i+1)[i]; string(e.Protocol) != test.proto || e.TLSVersion != tls.VersionTLS13 || string(e.Client) != "127.0.0.0" {
			t.Errorf("%+v", e)
		}
	}
	// The preface is accepted only if HTTP/2 was negotiated.
	conn, err := tls.Dial("tcp", b.addr, trusting)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, xhttp2.ClientPreface)
	got := make([]byte, 12)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "HTTP/1.1 505" {
		t.Errorf("%q, %v", got, err)
	}
	b.books.wait(t, 3)
}
