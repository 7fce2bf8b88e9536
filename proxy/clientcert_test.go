package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/proxy/http1"
)

// TestClientNameInFields: the name in a client's certificate reaches the service in the field that a rule names, and a client cannot
// send such a field itself.
func TestClientNameInFields(t *testing.T) {
	pki := testCertificates(t)
	store := mutualTLS(t)
	trailers := make(chan string, 1)
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for {
			r := readRequest(br)
			if r == "" {
				return
			}
			if strings.Contains(r, "chunked") {
				rest, _ := io.ReadAll(io.LimitReader(br, int64(len("3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"))))
				trailers <- string(rest)
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(len(r))+"\r\n\r\n"+r)
		}
	})
	rules := FieldRules{Set: []string{"X-Client: user=" + http1.ClientName + ";", "X-Fixed: 1"}}
	b := start(t, url, overTLSOptions(t, func(o *Options) { o.TLS.Config, o.RequestFields = store.Config, rules }))
	b.responses = 3
	config := pki.client.Clone()
	config.Certificates = []tls.Certificate{pki.ca.Issue(t, certtest.Leaf{Names: []string{"billing.internal"}, Client: true}).TLS}
	for range 2 { // the second connection resumes the session
		conn, err := tls.Dial("tcp", b.addr, config)
		if err != nil {
			t.Fatal(err)
		}
		c := &client{t, conn, bufio.NewReader(conn)}
		c.send("GET / HTTP/1.1\r\nHost: a\r\nX-Client: admin\r\nx_client: admin\r\nX.Client: admin\r\nX-Client-B: b\r\n\r\n")
		_, body := c.receive("GET")
		if strings.Contains(body, "admin") || !strings.HasSuffix(body, "X-Fixed: 1\r\nX-Client: user=billing.internal;\r\n\r\n") || !strings.Contains(body, "X-Client-B: b\r\n") {
			t.Error(body)
		}
		if !conn.ConnectionState().DidResume {
			_ = conn.Close()
			continue
		}
		c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Client: admin\r\nX_Client: admin\r\nX-Sum: 1\r\n\r\n")
		if got := <-trailers; got != "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n" {
			t.Errorf("%q", got)
		}
		c.receive("POST")
		_ = conn.Close()
	}
	plain := start(t, echoHead(t), func(o *Options) { o.RequestFields = rules })
	plain.responses = 1
	c := plain.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\nX-Client: admin\r\n\r\n")
	if _, body := c.receive("GET"); strings.Contains(body, "X-Client") || !strings.Contains(body, "X-Fixed: 1") {
		t.Error(body)
	}
	for _, bad := range []FieldRules{
		{Add: []string{"X: " + http1.ClientName}},
		{Set: []string{"Host: " + http1.ClientName}},
		{Set: []string{"X: " + http1.ClientName + http1.ClientName}},
	} {
		if _, err := New(Options{Upstream: "http://127.0.0.1:1", RequestFields: bad}); !errors.Is(err, http1.ErrFieldRule) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
