package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// ask sends one request on a new connection and returns everything that it receives.
func (b *bench) ask(request string) string {
	b.t.Helper()
	c := b.dial()
	c.send(request)
	raw, err := io.ReadAll(c.br)
	if err != nil {
		b.t.Fatal(err)
	}
	b.responses++
	return string(raw)
}

// strangers are forwarding fields, and fields whose names CGI turns into the same variables.
var strangers = []string{
	"X-Forwarded-Prefix", "X-Forwarded-Ssl", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Client-Cert",
	"X-Forwarded-Anything-New", "X-Forwarded", "X-Original-URL", "X-Original-URI", "X-Original-Method", "X-Original-Host", "X-Rewrite-URL", "Proxy", "PROXY", "X-Real-IP", "X-Real-Port",
	"X-Client-IP", "Client-IP", "True-Client-IP", "CF-Connecting-IP", "CF-Connecting-IPv6", "X-Cluster-Client-IP", "X-Client-Cert", "Client-Cert", "Client-Cert-Chain",
	"X-Envoy-External-Address", "X-SSL-Client-Cert", "SSL-Client-Verify", "X-Url-Scheme", "Front-End-Https", "Remote-User", "X-Remote-User", "X-Auth-Request-User", "Fastly-Client-IP", "x-host",
	"Cluster-Client-IP", "X-True-Client-IP", "Real-IP", "CF-Pseudo-IPv4", "CloudFront-Viewer-Address", "Fly-Client-IP", "DO-Connecting-IP", "Incap-Client-IP", "X-Sucuri-ClientIP",
	"X-NF-Client-Connection-IP", "X-Vercel-Forwarded-For", "X-HTTP-Host", "X-Script-Name", "SCRIPT_NAME", "Path_Info", "Script-Name", "CF-Visitor", "Remote-Addr", "Remote-Host", "SSL-Cipher",
	"Proxy-SSL-Id", "Proxy-auth-cert", "Cf-Access-Authenticated-User-Email", "X-Goog-Authenticated-User-Email", "X-Goog-IAP-JWT-Assertion", "X-Amzn-Oidc-Identity",
	"X-MS-CLIENT-PRINCIPAL", "X-MS-Client-Principal-Name", "X-authentik-username", "X-Pomerium-Jwt-Assertion", "Tailscale-User-Login",
}

var imitated = []string{
	"X.Real.IP", "X_Real_IP", "X_Real-IP", "X!Real~IP", "x.forwarded.for", "X_Forwarded_Prefix", "X.Forwarded-Prefix", "X-Forwarded.For", "X+Forwarded+Proto", "X*Request*ID", "X_ORIGINAL_URL",
	"Content.Length", "Transfer.Encoding", "Transfer_Encoding", "Content~Length", "CF_Connecting_IP", "SSL_CLIENT_CERT", "REMOTE_ADDR", "ssl_cipher", "X_Goog_Authenticated_User_Email",
}

func TestStrangersDoNotForward(t *testing.T) {
	lines := func(names []string) string { return strings.Join(names, ": evil\r\n") + ": evil\r\n" }
	request := "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + lines(strangers) + lines(imitated) + "X-HTTP-Method-Override: kept\r\nX-Requested-With: kept\r\nX-API_Key.1: kept\r\n\r\n"
	b := start(t, echoHead(t), nil)
	if got := b.ask(request); strings.Contains(got, "evil") || strings.Count(got, "kept") != 3 || strings.Count(got, "\r\nVia:") != 1 {
		t.Error(got)
	}
	o := b.p.current.Load().o
	o.PassFields, o.NoVia = []string{"cf-connecting-ip", "X-Original-URL"}, true
	if err := b.p.Reload(o); err != nil {
		t.Fatal(err)
	}
	if got := b.ask(request); strings.Count(got, "evil") != 2 || !strings.Contains(got, "CF-Connecting-IP: evil\r\n") || !strings.Contains(got, "X-Original-URL: evil\r\n") ||
		strings.Contains(got, "\r\nVia:") {
		t.Error(got)
	}
	o.PassFields, o.TrustedProxies = nil, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if err := b.p.Reload(o); err != nil {
		t.Fatal(err)
	}
	got := b.ask(request) // a trusted peer's fields are passed on, but never imitations
	for _, name := range strangers {
		if !strings.Contains(got, "\r\n"+name+": evil\r\n") {
			t.Errorf("%s of a trusted peer is missing", name)
		}
	}
	if strings.Count(got, "evil") != len(strangers) {
		t.Error(got)
	}
}

// TestLengthsAreWrittenAsNumbers: Content-Length is normalized in both directions.
func TestLengthsAreWrittenAsNumbers(t *testing.T) {
	b := start(t, rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		r := readRequest(br)
		if !strings.Contains(strings.ReplaceAll(r, ":10", ": 10"), "\r\nContent-Length: 10\r\n") {
			t.Errorf("%q", r)
		}
		_, _ = io.ReadFull(br, make([]byte, 10))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length:0003\r\n\r\nabc")
	}), nil)
	for _, length := range []string{"010", "\t00010 ", "10"} {
		got := b.ask("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length:" + length + "\r\n\r\n0123456789")
		if !strings.Contains(got, "\r\ncontent-length: 3\r\n") || !strings.HasSuffix(got, "\r\n\r\nabc") {
			t.Errorf("%q: %q", length, got)
		}
	}
	b2 := start(t, echoHead(t), nil)
	for _, length := range []string{"0", "000"} {
		if got := b2.ask("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: " + length + "\r\n\r\n"); !strings.Contains(got, "\r\nContent-Length: 0\r\n") {
			t.Errorf("%q: %q", length, got)
		}
	}
}

// TestConnectionNamesNothingForEverybody: Connection cannot remove fields that every recipient needs.
func TestConnectionNamesNothingForEverybody(t *testing.T) {
	response := "Date: then\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nContent-Encoding: x\r\nCache-Control: private\r\nSet-Cookie: a=1\r\nVary: *\r\n"
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		r := readRequest(br)
		if !strings.Contains(r, "\r\nCookie: a\r\nAuthorization: b\r\nIf-Match: c\r\nX-Forwarded-For: ") || strings.Contains(r, "Gone") {
			t.Errorf("%q", r)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: date, content-length, Content-Type, content-encoding, CACHE-CONTROL, set-cookie, vary, x-gone\r\n"+response+"X-Gone: 1\r\n\r\nok")
	})
	b := start(t, url, nil)
	got := b.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Host, Cookie, Authorization, If-Match, X-Forwarded-For, Via, X-Gone, HTTP2-Settings, Proxy-Gone\r\n" +
		"X-Gone: 1\r\nHTTP2-Settings: Gone\r\nProxy-Gone: 1\r\nCookie: a\r\nAuthorization: b\r\nIf-Match: c\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n"+response+"X-Request-ID: ") || !strings.HasSuffix(got, "\r\n\r\nok") {
		t.Errorf("%q", got)
	}
}

// TestAnswersToHeadHaveNoBody: the response to a request that begins with "HEAD " has no body, even if the rest of the request is
// malformed.
func TestAnswersToHeadHaveNoBody(t *testing.T) {
	b := start(t, deadAddr(t), func(o *Options) { o.MaxHeaderBytes = 2000 })
	for _, request := range []string{
		"HEAD / HTTP/1.1\r\n\r\n", "HEAD /a b HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD / HTTP/1.1\nHost: a\r\n\r\n", "HEAD /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD / HTTP/2.0\r\nHost: a\r\n\r\n",
		"HEAD / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", "\r\nHEAD  / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"HEAD /" + strings.Repeat("a", 3000) + " HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		head, body, _ := strings.Cut(b.ask(request), "\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 4") && !strings.HasPrefix(head, "HTTP/1.1 5") || body != "" || !strings.Contains(head, "\r\nContent-Length: ") {
			t.Errorf("%q: %q, %q", request, head, body)
		}
		if e := b.books.wait(t, b.responses)[b.responses-1]; e.ResponseBytes != 0 {
			t.Errorf("%q: %+v", request, e)
		}
	}
	if got := b.ask("HEADER / HTTP/1.1\r\n\r\n"); !strings.Contains(got, "malformed") {
		t.Errorf("%q", got)
	}
}

// TestBytesAboveASCII: bytes above ASCII are passed on unchanged in the query, and refused elsewhere in the target.
func TestBytesAboveASCII(t *testing.T) {
	b := start(t, echoHead(t), nil)
	for _, target := range []string{"/?q=\xc3\xbc", "/a?\xff\x80\xa0\x85", "/%C3%BC?a?\xc3\xbc"} {
		if got := b.ask("GET " + target + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "\r\n\r\nGET "+target+" HTTP/1.1\r\n") {
			t.Errorf("%q: %q", target, got)
		}
		if e := b.books.wait(t, b.responses)[b.responses-1]; (bytes.ContainsRune(e.Path, '?') || bytes.IndexByte(e.Path, 0xff) >= 0) || e.Status != 200 {
			t.Errorf("%+v", e)
		}
	}
	for _, target := range []string{"/\xc3\xbc", "/\xc3\xbc?a", "/?a\x7f", "/?\x01", "http://\xc3\xbc/?a", "/?\xc3\xbc#a", "/50%-off"} {
		if got := b.ask("GET " + target + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%q: %q", target, got)
		}
	}
}
