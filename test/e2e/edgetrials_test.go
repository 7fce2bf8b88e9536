package e2e

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/wayside-proxy/wayside/internal/certtest"
)

// edgeTrials are the requests for each configuration of docs/EDGE.md, by its number.
var edgeTrials = map[string]func(*edge){
	"1": tryOwnCertificate, "2": tryAuthority, "3": trySites, "4": tryPaths, "5": tryServers, "6": tryClientCertificates,
	"7": tryBalancer, "8": tryStreams, "9": tryCanary, "10": tryProtectedPaths,
}

// browser is how requests are sent: from which address, with which certificates, and with which first bytes on each connection.
type browser struct {
	from        string
	roots       *x509.CertPool
	certificate *certtest.Issued
	header      string // PROXY header
}

// client returns an HTTP client that connects to wayside, whatever the host, and follows no redirect.
func (e *edge) client(b browser) *http.Client {
	config := &tls.Config{RootCAs: e.ca.Pool()}
	if b.roots != nil {
		config.RootCAs = b.roots
	}
	if b.certificate != nil {
		config.Certificates = []tls.Certificate{b.certificate.TLS}
	}
	transport := &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: true, ExpectContinueTimeout: time.Minute,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(cmp.Or(b.from, "127.0.0.1"))}}
			to := e.listen
			if strings.HasSuffix(addr, ":80") {
				to = e.redirect
			}
			conn, err := dialer.DialContext(ctx, network, to)
			if err == nil && b.header != "" {
				_, err = io.WriteString(conn, b.header)
			}
			return conn, err
		},
	}
	e.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// outcome is the response that a request must get.
type outcome struct {
	status  int
	route   string // in the books
	service string // that has made the response, by its address on the page; empty: wayside itself
	want    []string
}

// get requests a URL and checks the response. Fields are name and value in turn.
func (e *edge) get(c *http.Client, url string, o outcome, fields ...string) *http.Response {
	e.Helper()
	req, err := http.NewRequestWithContext(e.Context(), http.MethodGet, url, nil)
	if err != nil {
		e.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	return e.do(c, req, o)
}

// do sends a request and checks the response: its status and service, and that it contains the texts of o.want.
func (e *edge) do(c *http.Client, req *http.Request, o outcome) *http.Response {
	e.Helper()
	resp, err := c.Do(req)
	if err != nil {
		e.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		e.Fatal(err)
	}
	e.expect(o.status, o.route)
	var text strings.Builder
	_ = resp.Header.Write(&text)
	text.Write(body)
	if resp.StatusCode != o.status || resp.Header.Get("X-Service") != o.service {
		e.Errorf("%s %s: %s from %q, want %d from %q\n%s", req.Method, req.URL, resp.Status, resp.Header.Get("X-Service"), o.status, o.service, &text)
	}
	for _, want := range o.want {
		if !strings.Contains(strings.ReplaceAll(text.String(), "\r\n", "\n"), want) {
			e.Errorf("%s %s: no %q in\n%s", req.Method, req.URL, want, &text)
		}
	}
	return resp
}

// expect notes that the books must have an event.
func (e *edge) expect(status int, route string) {
	e.expected = append(e.expected, fmt.Sprint(status, " ", route))
}

// httpsPort is what wayside adds to URLs, because it does not listen on port 443 here.
func (e *edge) httpsPort() string { return e.listen[strings.LastIndexByte(e.listen, ':'):] }

func tryOwnCertificate(e *edge) {
	c := e.client(browser{})
	e.get(c, "http://example.org/a?b=c", outcome{308, "", "", []string{"Location: https://example.org" + e.httpsPort() + "/a?b=c\n"}})
	resp := e.get(c, "https://example.org/a", outcome{200, "", "10.0.0.5:3000", []string{
		"Strict-Transport-Security: max-age=31536000\n", "Host: example.org\n", "X-Forwarded-For: 127.0.0.1\n", "X-Forwarded-Proto: https\n",
	}})
	if resp.ProtoMajor != 2 {
		e.Errorf("the client got %s, want HTTP/2", resp.Proto)
	}
}

func tryAuthority(e *edge) {
	c := e.client(browser{roots: e.authority.Roots})
	for _, host := range []string{"example.org", "www.example.org"} {
		eventually(e.T, "there is a certificate for "+host, func() bool {
			conn, err := tls.Dial("tcp", e.listen, &tls.Config{RootCAs: e.authority.Roots, ServerName: host})
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		})
	}
	e.get(c, "http://www.example.org/a", outcome{308, "www", "", []string{"Location: https://www.example.org" + e.httpsPort() + "/a\n"}})
	e.get(c, "https://www.example.org/a", outcome{308, "www", "", []string{"Location: https://example.org/a\n"}})
	e.get(c, "https://example.org/a", outcome{200, "site", "10.0.0.5:3000", []string{"GET /a with"}})
}

func trySites(e *edge) {
	c := e.client(browser{})
	e.get(c, "https://example.org/", outcome{200, "site", "10.0.0.5:3000", nil})
	for _, host := range []string{"books.shops.example", "Wine.Shops.example"} {
		e.get(c, "https://"+host+"/", outcome{200, "shops", "10.0.0.6:3000", nil})
	}
	e.get(c, "https://www.example.org/", outcome{404, "", "", nil}) // in the certificate, and not in the list of routes
}

func tryPaths(e *edge) {
	c := e.client(browser{})
	e.get(c, "https://example.org/api/users", outcome{200, "api", "10.0.0.7:8080", []string{"GET /api/users with"}})
	e.get(c, "https://example.org/api", outcome{200, "api", "10.0.0.7:8080", nil})
	e.get(c, "https://example.org/app/x/y", outcome{200, "app", "10.0.0.8:8080", []string{"GET /x/y with", "X-Forwarded-Prefix: /app\n"}})
	e.get(c, "https://example.org/blog/1?a=b", outcome{308, "old", "", []string{"Location: https://blog.example.org/blog/1?a=b\n"}})
	e.get(c, "https://example.org/apis", outcome{200, "site", "10.0.0.5:3000", []string{"GET /apis with"}})
	e.get(c, "https://example.org/public/..%2fapi/users", outcome{400, "", "", nil}) // the route depends on who reads the path
}

func tryServers(e *edge) {
	c := e.client(browser{})
	seven, eight := e.services["10.0.0.7:8080"], e.services["10.0.0.8:8080"]
	eventually(e.T, "both servers were checked", func() bool {
		return !slices.ContainsFunc(e.upstreams(), func(u serverState) bool { return u.Checks == 0 })
	})
	get := func(n int) {
		for range n {
			req, _ := http.NewRequestWithContext(e.Context(), http.MethodGet, "https://example.org/a", nil)
			resp, err := c.Do(req)
			if err != nil {
				e.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != 200 {
				e.Errorf("%s from %s", resp.Status, resp.Header.Get("X-Service"))
			}
			e.expect(200, "api")
		}
	}
	get(100)
	if seven.requests.Load() == 0 || eight.requests.Load() == 0 {
		e.Errorf("of 100 requests, one server got %d and the other %d", seven.requests.Load(), eight.requests.Load())
	}
	eight.server.CloseClientConnections()
	eight.server.Close()
	get(50) // each that meets the dead server is repeated at the other one
	eventually(e.T, "the dead server is out of use", func() bool {
		return slices.ContainsFunc(e.upstreams(), func(u serverState) bool { return u.Upstream == eight.address && u.State != "up" })
	})
}

// serverState is a part of what GET /api/v1/upstreams says about a server.
type serverState struct {
	Upstream, State string
	Checks          int
}

// upstreams returns the servers of the only group.
func (e *edge) upstreams() []serverState {
	e.Helper()
	body, err := e.w.Ask(e.Context(), http.MethodGet, "/api/v1/upstreams")
	var page struct {
		Groups []struct{ Servers []serverState }
	}
	if err = errors.Join(err, json.Unmarshal(body, &page)); err != nil || len(page.Groups) != 1 {
		e.Fatalf("%v: %s", err, body)
	}
	return page.Groups[0].Servers
}

func tryClientCertificates(e *edge) {
	known := e.ca.Issue(e.T, certtest.Leaf{Names: []string{"billing.internal"}, Client: true})
	c := e.client(browser{certificate: known})
	e.get(c, "https://example.org/orders", outcome{200, "orders", "10.0.0.9:8443", []string{"X-Client-Name: billing.internal\n"}}, "X-Client-Name", "somebody else")
	stranger := certtest.NewCA(e.T, "other").Issue(e.T, certtest.Leaf{Names: []string{"billing.internal"}, Client: true})
	for name, b := range map[string]browser{"without a certificate": {}, "with another authority's": {certificate: stranger}} {
		resp, err := e.client(b).Get("https://example.org/orders")
		if err == nil {
			_ = resp.Body.Close()
			e.Errorf("a client %s got in: %s", name, resp.Status)
		}
	}
}

func tryBalancer(e *edge) {
	balancer := e.client(browser{from: "127.0.0.2", header: "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n"})
	e.get(balancer, "https://example.org/a", outcome{200, "", "10.0.0.5:3000", []string{"X-Forwarded-For: 192.0.2.7\n"}})
	direct := e.client(browser{})
	e.get(direct, "https://example.org/a", outcome{200, "", "10.0.0.5:3000", []string{"X-Forwarded-For: 127.0.0.1\n"}})
	resp, err := e.client(browser{from: "127.0.0.2"}).Get("https://example.org/a")
	if err == nil {
		_ = resp.Body.Close()
		e.Errorf("the balancer got in without a header: %s", resp.Status)
	}
}

func tryStreams(e *edge) {
	c := e.client(browser{})
	first := e.get(c, "https://example.org/a", outcome{200, "chat", "10.0.0.7:8080", nil})
	cookies := first.Cookies()
	if len(cookies) != 1 || cookies[0].Name != "chat_server" {
		e.Fatalf("the first response has the cookies %v", cookies)
	}
	cookie := cookies[0].Name + "=" + cookies[0].Value
	for range 5 {
		e.get(c, "https://example.org/a", outcome{200, "chat", "10.0.0.7:8080", nil}, "Cookie", cookie)
	}
	header := http.Header{"Cookie": {cookie}}
	one := e.client(browser{})
	one.Transport.(*http.Transport).ForceAttemptHTTP2 = false //nolint:forcetypeassert // WebSockets use HTTP/1.1
	one.Timeout = 0
	conn, resp, err := websocket.Dial(e.Context(), "wss://example.org/socket", &websocket.DialOptions{HTTPClient: one, HTTPHeader: header})
	if err != nil {
		e.Fatal(err)
	}
	if resp.Header.Get("X-Service") != "10.0.0.7:8080" {
		e.Errorf("the WebSocket leads to %s", resp.Header.Get("X-Service"))
	}
	if _, err := e.w.Ask(e.Context(), http.MethodPost, "/-/reload"); err != nil {
		e.Fatal(err)
	}
	if err := conn.Write(e.Context(), websocket.MessageText, []byte("hello")); err != nil {
		e.Fatal(err)
	}
	if _, message, err := conn.Read(e.Context()); err != nil || string(message) != "hello" {
		e.Errorf("WebSocket: %q, %v", message, err)
	}
	_ = conn.Close(websocket.StatusNormalClosure, "")
	e.expect(101, "chat")

	ctx, cancel := context.WithCancel(e.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://example.org/stream", nil)
	req.Header = header
	stream, err := c.Do(req)
	if err != nil {
		e.Fatal(err)
	}
	data := make([]byte, len("data: one\n\n"))
	if _, err := io.ReadFull(stream.Body, data); err != nil || string(data) != "data: one\n\n" {
		e.Errorf("event stream: %q, %v", data, err)
	}
	cancel()
	_ = stream.Body.Close()
	e.expect(499, "chat") // this client left before the end
	e.awaitEvents(len(e.expected))
}

// awaitEvents waits until wayside has recorded this many responses. A stream is recorded when both sides have ended it.
func (e *edge) awaitEvents(n int) {
	e.Helper()
	eventually(e.T, fmt.Sprintf("%d responses are recorded", n), func() bool {
		body, err := e.w.Ask(e.Context(), http.MethodGet, "/api/v1/accounting")
		var a Accounting
		return err == nil && json.Unmarshal(body, &a) == nil && a.Responses >= uint64(n)
	})
}

func tryCanary(e *edge) {
	c := e.client(browser{})
	for range 5 {
		e.get(c, "https://example.org/a", outcome{200, "testers", "10.0.0.8:8080", nil}, "X-Canary", "1")
	}
	const n = 200
	for range n {
		req, _ := http.NewRequestWithContext(e.Context(), http.MethodGet, "https://example.org/a", nil)
		resp, err := c.Do(req)
		if err != nil {
			e.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		e.expect(resp.StatusCode, "all")
	}
	if got := e.services["10.0.0.8:8080"].requests.Load() - 5; got != n*5/100 {
		e.Errorf("the canary got %d of %d requests, want 5 %%", got, n)
	}
}

func tryProtectedPaths(e *edge) {
	outside, inside := e.client(browser{}), e.client(browser{from: "127.0.0.2"})
	e.get(outside, "https://example.org/admin/users", outcome{403, "admin", "", nil})
	e.get(inside, "https://example.org/admin/users", outcome{401, "admin", "", []string{"Www-Authenticate: Basic realm=\"admin\""}})
	req, _ := http.NewRequestWithContext(e.Context(), http.MethodGet, "https://example.org/admin/users", nil)
	req.SetBasicAuth("ops", "open sesame")
	e.do(inside, req, outcome{200, "admin", "10.0.0.5:3000", []string{"GET /admin/users with"}})
	e.get(outside, "https://example.org/shop/cart", outcome{503, "closed", "", []string{"The shop is closed.", "Content-Type: text/html"}})

	upload := func(method, path string) *http.Request {
		req, _ := http.NewRequestWithContext(e.Context(), method, "https://example.org"+path, strings.NewReader(strings.Repeat("a", 2<<20)))
		req.Header.Set("Expect", "100-continue")
		return req
	}
	e.do(outside, upload(http.MethodPut, "/upload/film"), outcome{200, "uploads", "10.0.0.5:3000", []string{"PUT /upload/film with 2097152 bytes"}})
	e.do(outside, upload(http.MethodPost, "/form"), outcome{413, "site", "", nil})
	e.get(outside, "https://example.org/", outcome{200, "site", "10.0.0.5:3000", nil})
}
