// Package acmetest runs a real certificate authority, pebble, for tests.
package acmetest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/proxy/certs"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/toolbin"
)

// Authority is a running pebble.
type Authority struct {
	Directory string         // URL
	CA        *certtest.CA   // the authority that signed the certificate of the directory
	Roots     *x509.CertPool // roots of the certificates that pebble issues
	TLSAddr   string         // address at which pebble validates with TLS-ALPN-01, for every name
	HTTPAddr  string         // address at which pebble validates with HTTP-01
}

func port(addr string) int { return int(netip.MustParseAddrPort(addr).Port()) }

// Start starts pebble, after building it if this is the first start. pebble resolves every name to the address 127.0.0.1, and is stopped
// at the end of the test.
func Start(t testing.TB) *Authority {
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
	listen, manage := loopback.Free(t), loopback.Free(t)
	a := &Authority{Directory: "https://" + listen + "/dir", CA: ca, TLSAddr: loopback.Free(t), HTTPAddr: loopback.Free(t)}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": manage, "certificate": cert, "privateKey": key,
		"httpPort": port(a.HTTPAddr), "tlsPort": port(a.TLSAddr),
		"profiles": map[string]any{"default": map[string]any{"description": "d", "validityPeriod": 90 * 86400}},
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

func (a *Authority) readRoot(t testing.TB, url string) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.CA.Pool()}, DisableKeepAlives: true}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { //nolint:forbidigo // waits for a condition
		resp, err := (&http.Client{Transport: tr}).Get(url)
		if err == nil {
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if a.Roots, err = certs.ParseCAs(b); err == nil {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// serveNames runs a DNS server that returns 127.0.0.1 for every query for an address. pebble sends its queries over TCP.
func serveNames(t testing.TB) (addr string) {
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
