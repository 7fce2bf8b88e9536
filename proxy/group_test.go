package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// named is an origin that responds with its name and counts its requests.
type named struct {
	url      string
	requests atomic.Int64
	server   *http.Server
}

func namedOrigins(t *testing.T, n int) []*named {
	t.Helper()
	list := make([]*named, n)
	for i := range list {
		list[i] = startNamed(t, "127.0.0.1:0", fmt.Sprint(i))
	}
	return list
}

func startNamed(t *testing.T, addr, name string) *named {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	o := &named{url: "http://" + ln.Addr().String()}
	o.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, name)
	})}
	go func() { _ = o.server.Serve(ln) }()
	t.Cleanup(func() { _ = o.server.Close() })
	return o
}

func serversOf(origins ...*named) (list []Server) {
	for _, o := range origins {
		list = append(list, Server{URL: o.url})
	}
	return list
}

// startGroup starts a proxy in front of one group.
func startGroup(t *testing.T, g Group, change func(*Options)) *bench {
	t.Helper()
	b := start(t, "", func(o *Options) {
		o.Groups = []Group{g}
		if change != nil {
			change(o)
		}
	})
	b.responses = -1
	return b
}

// state returns the state of a server of the only group.
func (b *bench) state(of string) ServerStatus {
	b.t.Helper()
	for _, s := range b.p.Groups()[0].Servers {
		if strings.HasSuffix(of, s.Upstream) {
			return s
		}
	}
	b.t.Fatal("no server", of)
	return ServerStatus{}
}

func TestWeights(t *testing.T) {
	origins := namedOrigins(t, 3)
	g := Group{Servers: serversOf(origins...)}
	g.Servers[0].Weight, g.Servers[1].Weight = 5, 3
	b := startGroup(t, g, nil)
	c := b.dial()
	for range 90 {
		c.get("/")
	}
	for i, want := range []int64{50, 30, 10} {
		if got := origins[i].requests.Load(); got != want {
			t.Errorf("server %d: %d of 90 requests, want %d", i, got, want)
		}
	}
	if e := b.books.wait(t, 90)[0]; !strings.HasSuffix(origins[0].url, string(e.Upstream)) {
		t.Errorf("%+v", e)
	}
	const picks = 100_000
	for _, balance := range []Balance{RoundRobin, Least} {
		o := b.p.current.Load().o
		o.Groups = []Group{{Servers: g.Servers, Balance: balance}}
		if err := b.p.Reload(o); err != nil {
			t.Fatal(err)
		}
		// If busy, no request ends, as if all of them took equally long. Otherwise, each request ends before the next one comes, and Least
		// chooses at random.
		for tolerance, busy := range map[float64]bool{0.02: true, 0.06: false} {
			count := make(map[*server]int)
			x, m := newExchange(), b.p.current.Load().group.members.Load()
			x.to.group = b.p.current.Load().group
			for range picks {
				s := x.to.choose(&x.req, m)
				count[s]++
				if busy {
					s.inFlight.Add(1)
				}
			}
			for i, weight := range []int{5, 3, 1} {
				s := m.all[i].server
				s.inFlight.Store(0)
				if share, want := float64(count[s])/picks, float64(weight)/9; share < want*(1-tolerance) || share > want*(1+tolerance) {
					t.Errorf("%s, busy %t: server %d has %.4f of the requests, want %.4f", balance, busy, i, share, want)
				}
			}
		}
	}
}

// TestServerWithoutWeight: a server without turns serves only the clients that a cookie keeps on it.
func TestServerWithoutWeight(t *testing.T) {
	origins := namedOrigins(t, 2)
	g := Group{Servers: serversOf(origins...)}
	g.Servers[1].Weight = -1
	b := startGroup(t, g, nil)
	for range 10 {
		if _, body := b.dial().get("/"); body != "0" {
			t.Error(body)
		}
	}
}

// TestRequestThatWasNotSentGoesToAnotherServer: a request that could not be sent goes to another server, whatever its method, and its
// event shows that.
func TestRequestThatWasNotSentGoesToAnotherServer(t *testing.T) {
	alive := startNamed(t, "127.0.0.1:0", "alive")
	b := startGroup(t, Group{Servers: []Server{{URL: deadAddr(t)}, {URL: alive.url}}, Eject: Eject{After: -1}}, nil)
	c := b.dial()
	for range 4 {
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
		if resp, body := c.receive("POST"); resp.StatusCode != 200 || body != "alive" {
			t.Fatal(resp.Status, body)
		}
		c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
		if resp, body := c.receive("POST"); resp.StatusCode != 200 || body != "alive" {
			t.Fatal(resp.Status, body)
		}
	}
	if got := alive.requests.Load(); got != 8 {
		t.Errorf("%d requests", got)
	}
	if m := b.p.Metrics(); m.Retries != 4 || m.Responses[2] != 8 {
		t.Errorf("%+v", m)
	}
	twice := 0
	for _, e := range b.books.all() {
		if e.Attempts == 2 {
			twice++
		} else if e.Attempts != 0 {
			t.Errorf("%+v", e)
		}
	}
	if twice != 4 {
		t.Errorf("%d events say that their request was tried twice", twice)
	}
}

// TestNoRetries: without retries, or without another server, the client gets the failure.
func TestNoRetries(t *testing.T) {
	b := startGroup(t, Group{Servers: []Server{{URL: deadAddr(t)}, {URL: deadAddr(t)}}, Retries: -1}, nil)
	b.dial().get("/")
	b.expect(0, 502, "connect_refused")
	if m := b.p.Metrics(); m.Retries != 0 {
		t.Errorf("%+v", m)
	}
}

// rude is an origin that counts the requests that it has read completely, and then closes the connection without a response.
func rude(t *testing.T, seen *atomic.Int64) string {
	return rawOrigin(t, func(_ net.Conn, br *bufio.Reader) {
		if r, err := http.ReadRequest(br); err == nil {
			if _, err = io.Copy(io.Discard, r.Body); err == nil {
				seen.Add(1)
			}
		}
	})
}

// TestNothingTwice: a request on which a server may have begun to work is sent again only if it is idempotent and has no body.
func TestNothingTwice(t *testing.T) {
	var seen atomic.Int64
	b := startGroup(t, Group{Servers: []Server{{URL: rude(t, &seen)}, {URL: rude(t, &seen)}}, Eject: Eject{After: -1}}, nil)
	b.responses = 0
	for i, c := range []struct {
		request string
		sent    int64
	}{
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 2},
		{"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 1},
		{"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", 1},
		{"PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 1},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", 1},
		{"DELETE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 1},
	} {
		seen.Store(0)
		b.ask(c.request)
		b.expect(i, 502, "connection_reset")
		if got := seen.Load(); got != c.sent {
			t.Errorf("%q was sent %d times, want %d", c.request, got, c.sent)
		}
	}
}

// TestRequestThatIsNotAnsweredGoesToAnotherServer: if a server hangs, its requests go to another server after the time limit has passed.
func TestRequestThatIsNotAnsweredGoesToAnotherServer(t *testing.T) {
	hang := make(chan struct{})
	silent := origin(t, func(http.ResponseWriter, *http.Request) { <-hang })
	t.Cleanup(func() { close(hang) })
	alive := startNamed(t, "127.0.0.1:0", "alive")
	b := startGroup(t, Group{Servers: []Server{{URL: silent}, {URL: alive.url}}}, func(o *Options) { o.ResponseTimeout = time.Second })
	for range 2 {
		if resp, body := b.dial().get("/"); resp.StatusCode != 200 || body != "alive" {
			t.Error(resp.Status, body)
		}
	}
	if s := b.state(silent); s.Retried != 1 || s.Failing == "" {
		t.Errorf("%+v", s)
	}
}

// TestRetryBudget: after a reserve, at most a fifth of the requests are retried.
func TestRetryBudget(t *testing.T) {
	b := startGroup(t, Group{Servers: []Server{{URL: deadAddr(t)}, {URL: deadAddr(t)}}, Eject: Eject{After: -1}}, nil)
	const requests = 400
	c := b.dial()
	for range requests {
		if resp, _ := c.get("/"); resp.StatusCode != 502 {
			t.Fatal(resp.Status)
		}
	}
	m := b.p.Metrics()
	if m.Retries < 100 || m.Retries > 100+requests/5 || m.Failures["retry_budget"] != requests-m.Retries {
		t.Errorf("%d retries, %d without", m.Retries, m.Failures["retry_budget"])
	}
	until(t, "the log names the cause", func() bool { return strings.Contains(b.log.String(), "connection refused") })
}

func TestStickyCookie(t *testing.T) {
	origins := namedOrigins(t, 3)
	group := Group{Servers: serversOf(origins...), StickyCookie: "SRV", Eject: Eject{After: 1, For: time.Hour}}
	key := []byte("kept in the data directory")
	b := startGroup(t, group, func(o *Options) { o.StickyKey = key })
	ask := func(b *bench, cookies string) (body, cookie string) {
		c := b.dial()
		c.send("GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b; " + cookies + "; x=SRV=1\r\n\r\n")
		resp, body := c.receive("GET")
		if resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
		return body, resp.Header.Get("Set-Cookie")
	}
	home, set := ask(b, "y=1")
	cookie, attributes, _ := strings.Cut(set, "; ")
	if strings.TrimSuffix(attributes, "; Secure") != "Path=/; HttpOnly; SameSite=Lax" || strings.HasSuffix(attributes, "Secure") != b.tls || len(cookie) != len("SRV=")+32 || strings.Contains(cookie, "127") {
		t.Fatal(set)
	}
	again := startGroup(t, group, func(o *Options) { o.StickyKey = key }) // as after a restart
	for range 6 {
		for _, b := range []*bench{b, again} {
			if body, set := ask(b, cookie); body != home || set != "" {
				t.Errorf("%s instead of %s, %q", body, home, set)
			}
		}
	}
	if _, set := ask(b, cookie[:len(cookie)-1]+"x"); set == "" {
		t.Error("a forged cookie is accepted")
	}
	behind := startGroup(t, group, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	behind.responses = 0
	if got := behind.ask("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "; SameSite=Lax; Secure\r\n") {
		t.Error(got)
	}
	for _, o := range origins { // when the client's server is stopped, the client gets another one and stays there
		if strings.HasSuffix(o.url, string(b.books.all()[0].Upstream)) {
			_ = o.server.Close()
		}
	}
	second, set := ask(b, cookie)
	if second == home || !strings.HasPrefix(set, "SRV=") || strings.HasPrefix(set, cookie) {
		t.Fatal(second, set)
	}
	cookie, _, _ = strings.Cut(set, ";")
	for range 6 {
		if body, set := ask(b, cookie); body != second || set != "" {
			t.Error(body, set)
		}
	}
}

// TestServerConnsMax: a group's limit for connections applies to each server separately, and has its own error type.
func TestServerConnsMax(t *testing.T) {
	release := make(chan struct{})
	var busy atomic.Int64
	slow := origin(t, func(http.ResponseWriter, *http.Request) { busy.Add(1); <-release })
	b := startGroup(t, Group{Servers: []Server{{URL: slow}}, ConnsMax: 2}, func(o *Options) { o.MaxConnWait = 50 * time.Millisecond })
	var held []*client
	for range 2 {
		c := b.dial()
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		held = append(held, c)
	}
	until(t, "both connections are used", func() bool { return busy.Load() == 2 })
	if s := b.state(slow); s.InFlight != 2 || s.ConnsMax != 2 {
		t.Errorf("%+v", s)
	}
	resp, _ := b.dial().get("/")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Error(resp.Status)
	}
	b.expect(0, 503, "upstream_busy")
	close(release)
	for _, c := range held {
		if resp, _ := c.receive("GET"); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
	}
}

func TestGroupOptions(t *testing.T) {
	a, b := Server{URL: "http://a"}, Server{URL: "http://b"}
	for name, groups := range map[string][]Group{
		"no servers":           {{}},
		"both":                 {{Servers: []Server{a}, DNS: "a:1"}},
		"twice":                {{Servers: []Server{a, {URL: "http://a:80"}}}},
		"two with one name":    {{Servers: []Server{a}}, {Servers: []Server{b}}},
		"balance":              {{Servers: []Server{a}, Balance: "random"}},
		"path":                 {{Servers: []Server{a}, Check: Check{Path: "ready"}}},
		"no weight":            {{Servers: []Server{{URL: "http://a", Weight: -1}}}},
		"name without port":    {{DNS: "unix:///a"}},
		"port":                 {{DNS: "a:99999"}},
		"files":                {{Servers: []Server{{URL: "https://a"}}, TLS: UpstreamTLS{CAFile: "/does/not/exist"}}},
		"too many":             {{Servers: slices.Repeat([]Server{a}, ServersMax+1)}},
		"scheme of the server": {{Servers: []Server{{URL: "ftp://a"}}}},
	} {
		if _, err := New(Options{Groups: groups, Driver: DriverGoroutine}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
