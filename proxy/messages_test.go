package proxy

import (
	"strings"
	"testing"
)

// TestUpgradeInTwoLines: a list field may be split into several lines (RFC 9110, section 5.3).
func TestUpgradeInTwoLines(t *testing.T) {
	b := start(t, echoHead(t), nil)
	for _, c := range []struct{ fields, want string }{
		{"Upgrade: a/1\r\nX: 1\r\nUpgrade: b\r\n", "\r\nConnection: Upgrade\r\nUpgrade: a/1, b\r\n"},
		{"Upgrade: a\r\nUpgrade:\r\nUpgrade: b, c\r\n", "\r\nConnection: Upgrade\r\nUpgrade: a, b, c\r\n"},
		{"Upgrade:\r\nUpgrade: b\r\n", "\r\nConnection: Upgrade\r\nUpgrade: b\r\n"},
		{"Connection: x\r\nUpgrade: a\r\nx: 1\r\nUpgrade: b\r\n", "\r\nConnection: Upgrade\r\nUpgrade: a, b\r\n"}, // two passes over the fields
		{"Upgrade: a\r\nUpgrade: h2c\r\n", ""},                                                                    // one of them must not be passed on
	} {
		got := b.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade, close\r\n" + c.fields + "\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.Contains(got, c.want) || strings.Count(got, "Upgrade:") != strings.Count(c.want, "Upgrade:") {
			t.Errorf("%q: %s", c.fields, got)
		}
	}
}

// TestAbsoluteFormWithoutPath: an empty path in the absolute form means "/", even before a query (RFC 9110, section 4.2.3).
func TestAbsoluteFormWithoutPath(t *testing.T) {
	b := start(t, echoHead(t), nil)
	for i, c := range []struct{ line, want, path string }{
		{"GET http://b?y=1", "GET /?y=1 HTTP/1.1\r\nHost: b\r\n", "/"},
		{"GET http://b:81?", "GET /? HTTP/1.1\r\nHost: b:81\r\n", "/"},
		{"OPTIONS http://b?y", "OPTIONS /?y HTTP/1.1\r\nHost: b\r\n", "/"},
		{"OPTIONS http://b", "OPTIONS * HTTP/1.1\r\nHost: b\r\n", "*"},
	} {
		got := b.ask(c.line + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if !strings.Contains(got, "\r\n\r\n"+c.want) {
			t.Errorf("%s: %s", c.line, got)
		}
		if e := b.expect(i, 200, ""); string(e.Path) != c.path {
			t.Errorf("%s: %+v", c.line, e)
		}
	}
	for _, line := range []string{"GET http://b?y#z", "GET http://b#z", "GET http://?y"} {
		if got := b.ask(line + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%s: %s", line, got)
		}
	}
}

// TestUpgradeRequired: a 426 response names the protocol that the server requires. A sender of Upgrade must list it in Connection (RFC
// 9110, section 7.8).
func TestUpgradeRequired(t *testing.T) {
	b := start(t, canned(t, "HTTP/1.1 426 Upgrade Required\r\nUpgrade: a\r\nConnection: upgrade, x\r\nX: 1\r\nUpgrade: b\r\nContent-Length: 0\r\n\r\n"), nil)
	got := b.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	b.responses++
	if strings.Count(got, "\r\nUpgrade: a\r\nUpgrade: b\r\n") != 2 || strings.Count(got, "\r\nConnection: upgrade\r\n") != 2 || strings.Count(got, "\r\nConnection: close\r\n") != 1 ||
		strings.Contains(got, "\r\nX: 1\r\n") {
		t.Error(got)
	}
	other := start(t, canned(t, "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"), nil)
	if got := other.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); strings.Contains(got, "\r\nConnection: upgrade\r\n") {
		t.Error(got)
	}
}

// TestUpstreamWithZone: a zone has a meaning only on this host, so Host must not contain it (RFC 6874, section 1).
func TestUpstreamWithZone(t *testing.T) {
	for upstream, want := range map[string][2]string{
		"http://[::1%25lo]:81": {"[::1%lo]:81", "[::1]:81"},
		"http://[fe80::1%25e]": {"[fe80::1%e]:80", "[fe80::1]"},
		"http://[::1]:81":      {"[::1]:81", "[::1]:81"},
		"http://h:81":          {"h:81", "h:81"},
	} {
		if e, err := parseUpstream(upstream); err != nil || e.address != want[0] || e.host != want[1] {
			t.Errorf("%s: %+v %v", upstream, e, err)
		}
	}
}

// TestDigestInTrailer: the digest of a body's content may come in a trailer, because it is known only at the end of the body (RFC 9530).
func TestDigestInTrailer(t *testing.T) {
	const digest = "Content-Digest: sha-256=:AAAA:\r\n"
	b := start(t, canned(t, "HTTP/1.1 200 OK\r\nTrailer: Content-Digest\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Type: x\r\n"+digest+"\r\n"), nil)
	if got := b.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasSuffix(got, "\r\n0\r\n"+digest+"\r\n") {
		t.Error(got)
	}
	echo := start(t, echoHead(t), nil) // if the digest is in the header, Connection cannot make the proxy remove it
	if got := echo.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, content-digest\r\n" + digest + "\r\n"); !strings.Contains(got, digest) {
		t.Error(got)
	}
}

// TestPaddedChunkSize: some senders pad the size of a chunk.
func TestPaddedChunkSize(t *testing.T) {
	size := strings.Repeat("0", 40) + "3"
	b := start(t, canned(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+size+"\r\nabc\r\n"+size[:40]+"\r\n\r\n"), nil)
	if got := b.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasSuffix(got, "\r\n\r\n3\r\nabc\r\n0\r\n\r\n") {
		t.Error(got)
	}
	b.expect(0, 200, "")
}
