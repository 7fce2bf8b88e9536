package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// connectionLogin is a server that authenticates connections like IIS: in three steps (NTLM) or in one (Negotiate, without a challenge). It remembers
// the user of each connection.
func connectionLogin(t *testing.T) string {
	return rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		user := ""
		for {
			r := readRequest(br)
			if r == "" {
				return
			}
			status, challenge := "200 OK", ""
			switch scheme, token, _ := strings.Cut(authorization(r), " "); {
			case strings.EqualFold(scheme, "NTLM") && token == "hello":
				status, challenge = "401 Unauthorized", "WWW-Authenticate: NTLM challenge\r\n"
			case scheme != "" && token != "hello":
				user = token
			case user == "":
				status, challenge = "401 Unauthorized", "WWW-Authenticate: Basic realm=\"a, b\", Negotiate\r\nwww-authenticate: ntlm\r\n"
			}
			if strings.Contains(r, "/silent") {
				challenge = ""
			}
			if strings.Contains(r, "/proxy") {
				challenge = strings.ReplaceAll(challenge, "WWW-", "Proxy-")
			}
			body := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(user), user)
			switch {
			case strings.HasPrefix(r, "HEAD"):
				body, _, _ = strings.Cut(body, user)
			case strings.Contains(r, "/chunked"):
				body = "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
				if user != "" {
					body = fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(user), user)
				}
			}
			if _, err := io.WriteString(conn, "HTTP/1.1 "+status+"\r\n"+challenge+body); err != nil {
				return
			}
		}
	})
}

func authorization(request string) string {
	_, rest, _ := strings.Cut(request, "\r\nAuthorization: ")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

func (c *client) ask(path, credentials string) (status int, user string) {
	c.t.Helper()
	if credentials != "" {
		credentials = "Authorization: " + credentials + "\r\n"
	}
	c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n" + credentials + "\r\n")
	resp, body := c.receive("GET")
	return resp.StatusCode, body
}

// TestConnectionLoginStaysWithItsClient: a connection that the service has authenticated stays with its client: the handshake works, and
// no other client becomes that user.
func TestConnectionLoginStaysWithItsClient(t *testing.T) {
	for _, path := range []string{"/", "/chunked"} {
		b := start(t, connectionLogin(t), func(o *Options) { o.MaxConnsPerUpstream = 100 })
		b.responses = -1
		alice, bob, stranger := b.dial(), b.dial(), b.dial()
		for user, c := range map[string]*client{"alice": alice, "bob": bob} {
			if status, _ := c.ask(path, ""); status != 401 {
				t.Error(status)
			}
			if status, _ := c.ask(path, "NTLM hello"); status != 401 {
				t.Error(status)
			}
			if status, got := c.ask(path, "NTLM "+user); status != 200 || got != user {
				t.Error(status, got)
			}
		}
		for range 5 {
			if status, user := stranger.ask(path, ""); status != 401 || user != "" {
				t.Fatalf("%s: a stranger is answered as %q: %d", path, user, status)
			}
			for user, c := range map[string]*client{"alice": alice, "bob": bob} {
				if status, got := c.ask(path, ""); status != 200 || got != user {
					t.Fatalf("%s: %s is answered as %q: %d", path, user, got, status)
				}
			}
		}
		_ = alice.conn.Close()
		for range 5 { // another client must not get the connection even after the user has left
			if status, user := b.dial().ask(path, ""); status != 401 || user != "" {
				t.Fatalf("%s: a stranger is answered as %q: %d", path, user, status)
			}
		}
	}
}

// TestUnaskedLoginIsNotShared: the same is true if the service sends no challenge, or a challenge for proxies.
func TestUnaskedLoginIsNotShared(t *testing.T) {
	for _, credentials := range []string{"Negotiate alice", "negotiate\talice", "NTLM alice", "Kerberos alice", "CredSSP alice"} {
		for _, path := range []string{"/silent", "/proxy", "/chunked/silent"} {
			b := start(t, connectionLogin(t), nil)
			b.responses = -1
			alice := b.dial()
			if path == "/proxy" {
				alice.ask(path, "")
			}
			alice.ask(path, credentials)
			alice.ask(path, credentials)
			for range 3 {
				if status, user := b.dial().ask(path, ""); status != 401 || user != "" {
					t.Fatalf("%s, %s: a stranger is answered as %q: %d", credentials, path, user, status)
				}
			}
		}
	}
	b := start(t, echoHead(t), nil) // with schemes that authenticate each request, connections are shared
	b.responses = 4
	c := b.dial()
	for _, credentials := range []string{"Basic YTpi", "Bearer ntlm", "Digest negotiate", "NTLMish x"} {
		c.ask("/", credentials)
	}
	if n := b.p.Metrics().Upstreams[0].Connects; n != 1 {
		t.Errorf("%d connections to the upstream for four requests", n)
	}
}
