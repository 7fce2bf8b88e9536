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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/wayside-proxy/wayside/proxy/upstream"
)

// named is an origin that answers with its name and counts its requests.
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
		count := make(map[*server]int)
		x, m := newExchange(), b.p.current.Load().group.members.Load()
		x.group = b.p.current.Load().group
		for range picks {
			s := x.choose(m)
			count[s]++
			s.inFlight.Add(1) // all requests take equally long: as many are in flight as were sent
		}
		for i, weight := range []int{5, 3, 1} {
			s := m.all[i].server
			s.inFlight.Store(0)
			if share, want := float64(count[s])/picks, float64(weight)/9; share < want*0.98 || share > want*1.02 {
				t.Errorf("%s: server %d has %.4f of the requests, want %.4f", balance, i, share, want)
			}
		}
	}
}

// A server without a turn serves nobody but the clients that a cookie keeps there.
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

// A request that could not be sent goes to another server, whatever its method, and its event says so.
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
}

// Without retries, or without another server, the failure stays.
func TestNoRetries(t *testing.T) {
	b := startGroup(t, Group{Servers: []Server{{URL: deadAddr(t)}, {URL: deadAddr(t)}}, Retries: -1}, nil)
	b.dial().get("/")
	b.expect(0, 502, "connect_refused")
	if m := b.p.Metrics(); m.Retries != 0 {
		t.Errorf("%+v", m)
	}
}

// rude is an origin that counts the requests of which it has read all, and closes the connection without a response.
func rude(t *testing.T, seen *atomic.Int64) string {
	return rawOrigin(t, func(_ net.Conn, br *bufio.Reader) {
		if r, err := http.ReadRequest(br); err == nil {
			if _, err = io.Copy(io.Discard, r.Body); err == nil {
				seen.Add(1)
			}
		}
	})
}

// A request that a server may have begun to work on is only sent again if it is idempotent and has no body.
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

// A server that hangs costs its requests the time limit, and then they go to another one.
func TestRequestThatIsNotAnsweredGoesToAnotherServer(t *testing.T) {
	hang := make(chan struct{})
	silent := origin(t, func(http.ResponseWriter, *http.Request) { <-hang })
	t.Cleanup(func() { close(hang) })
	alive := startNamed(t, "127.0.0.1:0", "alive")
	b := startGroup(t, Group{Servers: []Server{{URL: silent}, {URL: alive.url}}}, func(o *Options) { o.ResponseTimeout = 50 * time.Millisecond })
	for range 2 {
		if resp, body := b.dial().get("/"); resp.StatusCode != 200 || body != "alive" {
			t.Error(resp.Status, body)
		}
	}
	if s := b.state(silent); s.Retried != 1 || s.Failing == "" {
		t.Errorf("%+v", s)
	}
}

// Retries are a fifth of the requests, after a reserve.
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
	until(t, "the log names the cause", func() bool { return strings.Contains(b.logged(), "connection refused") })
}

// Whatever fails, never more than half of the group is ejected, and never the last server that could be used.
func TestEjectionHasABound(t *testing.T) {
	for _, n := range []int{2, 3, 4, 5} {
		var servers []Server
		for range n {
			servers = append(servers, Server{URL: deadAddr(t)})
		}
		b := startGroup(t, Group{Servers: servers, Eject: Eject{After: 2}, Retries: 2}, nil)
		var wg sync.WaitGroup
		for range 4 {
			c := b.dial()
			wg.Go(func() {
				for range 50 {
					c.get("/")
					ejected := 0
					for _, s := range b.p.Groups()[0].Servers {
						if s.State == "ejected" {
							ejected++
						}
					}
					if ejected > n/2 {
						t.Errorf("%d of %d servers are ejected", ejected, n)
					}
				}
			})
		}
		wg.Wait()
		ejections := int64(0)
		for _, s := range b.p.Groups()[0].Servers {
			ejections += s.Ejections
		}
		if ejections != int64(n/2) {
			t.Errorf("%d ejections of %d servers", ejections, n)
		}
	}
}

// A server whose requests fail receives none for a time, and then comes back.
func TestEjectedServerComesBack(t *testing.T) {
	dead := deadAddr(t)
	alive := startNamed(t, "127.0.0.1:0", "alive")
	b := startGroup(t, Group{Servers: []Server{{URL: dead}, {URL: alive.url}}, Eject: Eject{After: 3, For: 300 * time.Millisecond}}, nil)
	c := b.dial()
	for b.state(dead).State != "ejected" {
		if resp, _ := c.get("/"); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
	if s := b.state(dead); s.Retried != 3 || s.Until == nil || !strings.Contains(s.Why, "refused") {
		t.Errorf("%+v", s)
	}
	back := startNamed(t, strings.TrimPrefix(dead, "http://"), "back")
	for back.requests.Load() < 10 {
		if resp, _ := c.get("/"); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
	if s := b.state(dead); s.State != "up" || s.Ejections != 1 {
		t.Errorf("%+v", s)
	}
	if log := b.logged(); !strings.Contains(log, "server receives no requests") {
		t.Error(log)
	}
}

// If no server passes its checks, the answer comes at once.
func TestAllServersDown(t *testing.T) {
	var well atomic.Bool
	var served atomic.Int64
	check := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ready" {
			served.Add(1)
		} else if !well.Load() {
			w.WriteHeader(500)
		}
	}
	one, two := origin(t, check), origin(t, check)
	b := startGroup(t, Group{Name: "api", Servers: []Server{{URL: one}, {URL: two}},
		Check: Check{Path: "/ready", Every: 20 * time.Millisecond, Fails: 2, Passes: 2}}, nil)
	until(t, "both servers are down", func() bool { return b.state(one).State == "down" && b.state(two).State == "down" })
	resp, _ := b.dial().get("/")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || served.Load() != 0 {
		t.Error(resp.Status, served.Load())
	}
	e := b.expect(0, 503, "no_healthy_upstream")
	if len(e.Upstream) != 0 {
		t.Errorf("%+v", e)
	}
	if s := b.state(one); s.Why != "check: status 500" || s.Since == nil || s.Failed == 0 {
		t.Errorf("%+v", s)
	}
	if reason, since := b.p.UpstreamFailure(); reason != "group api: no server can be used" || since.IsZero() {
		t.Error(reason, since)
	}
	until(t, "the log says so", func() bool { return strings.Contains(b.logged(), "no server of the group can be used") })
	well.Store(true)
	until(t, "both servers are up", func() bool { return b.state(one).State == "up" && b.state(two).State == "up" })
	if resp, _ := b.dial().get("/"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

// A reload keeps the health, the connections and the counters of servers that it does not change, and upgraded connections of all.
func TestReloadKeepsServers(t *testing.T) {
	echo := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if r.Header.Get("Upgrade") == "" {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				continue
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			_, _ = io.Copy(conn, br)
			return
		}
	})
	bad := origin(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	other := startNamed(t, "127.0.0.1:0", "other")
	check := Check{Path: "/ready", Every: 20 * time.Millisecond, Fails: 2}
	b := startGroup(t, Group{Servers: []Server{{URL: echo}, {URL: bad}}, Check: check}, nil)
	until(t, "the bad server is down", func() bool { return b.state(bad).State == "down" })
	c := b.dial()
	c.get("/")
	tunnel := b.dial()
	tunnel.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if resp, err := http.ReadResponse(tunnel.br, nil); err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	says := func(word string) {
		t.Helper()
		tunnel.send(word)
		got := make([]byte, len(word))
		if _, err := io.ReadFull(tunnel.br, got); err != nil || string(got) != word {
			t.Fatal(string(got), err)
		}
	}
	says("before")
	since := *b.state(bad).Since
	for _, change := range []func(*Options){
		func(o *Options) { o.ServerTiming = true },
		func(o *Options) { o.Groups[0].Servers = append(o.Groups[0].Servers, Server{URL: other.url}) },
		func(o *Options) { o.Groups[0].Servers[0].Weight = 3 },
		func(o *Options) { o.Groups[0].Retries = -1 },
	} {
		o := b.p.current.Load().o
		o.Groups = slices.Clone(o.Groups)
		o.Groups[0].Servers = slices.Clone(o.Groups[0].Servers)
		change(&o)
		if err := b.p.Reload(o); err != nil {
			t.Fatal(err)
		}
		if s := b.state(bad); s.State != "down" || !s.Since.Equal(since) {
			t.Errorf("%+v", s)
		}
		if s := b.state(echo); s.Idle != 1 || s.Responses == 0 {
			t.Errorf("%+v", s)
		}
		says("after")
	}
	o := b.p.current.Load().o
	o.Groups = []Group{{Servers: serversOf(other)}}
	if err := b.p.Reload(o); err != nil {
		t.Fatal(err)
	}
	says("the server is gone from the configuration")
	if _, body := c.get("/"); body != "other" {
		t.Error(body)
	}
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
	if attributes != "Path=/; HttpOnly; SameSite=Lax" || len(cookie) != len("SRV=")+32 || strings.Contains(cookie, "127") {
		t.Fatal(set)
	}
	again := startGroup(t, group, func(o *Options) { o.StickyKey = key }) // after a restart
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
	for _, o := range origins { // the client's server goes: it gets another one, and stays there
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

// A group's limit on connections is one for each server, and its error has a name of its own.
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

// names is a name server whose addresses can be changed; nil: it fails.
type names struct{ current atomic.Pointer[[]netip.Addr] }

func (n *names) set(addrs ...string) {
	list := []netip.Addr{}
	for _, a := range addrs {
		list = append(list, netip.MustParseAddr(a))
	}
	n.current.Store(&list)
}

func (n *names) answer(m *dnsmessage.Message) {
	list := n.current.Load()
	if list == nil {
		m.RCode = dnsmessage.RCodeServerFailure
		return
	}
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		for _, addr := range *list {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: addr.As4()},
			})
		}
	}
}

// onOnePort starts origins on these addresses and the same port, which it returns.
func onOnePort(t *testing.T, addrs ...string) (port string) {
	t.Helper()
	for range 20 {
		list, port := []net.Listener{}, "0"
		for _, a := range addrs {
			ln, err := net.Listen("tcp", net.JoinHostPort(a, port))
			if err != nil {
				break
			}
			list = append(list, ln)
			_, port, _ = net.SplitHostPort(ln.Addr().String())
		}
		for i, ln := range list {
			if len(list) < len(addrs) { // another process uses the port on one of them
				_ = ln.Close()
				continue
			}
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, addrs[i]) })}
			go func() { _ = server.Serve(ln) }()
			t.Cleanup(func() { _ = server.Close() })
		}
		if len(list) == len(addrs) {
			return port
		}
	}
	t.Fatal("no port is free on all addresses")
	return ""
}

// Every address of a name is a server, and changes are followed without a request that fails.
func TestServersByName(t *testing.T) {
	port := onOnePort(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	n := &names{}
	n.set("127.0.0.1", "127.0.0.2")
	b := startGroup(t, Group{DNS: "app.example.test:" + port}, func(o *Options) {
		o.Resolver, o.ResolveInterval = answering(t, n.answer), 20*time.Millisecond
	})
	c := b.dial()
	servers := func() string {
		var list []string
		for _, s := range b.p.Groups()[0].Servers {
			list = append(list, strings.TrimSuffix(s.Upstream, ":"+port))
		}
		return strings.Join(list, " ")
	}
	answered := func(want ...string) {
		t.Helper()
		left := slices.Clone(want)
		for len(left) > 0 {
			resp, body := c.get("/")
			if resp.StatusCode != 200 {
				t.Fatal(resp.Status, body)
			}
			left = slices.DeleteFunc(left, func(s string) bool { return s == body })
		}
	}
	if resp, _ := c.get("/"); resp.StatusCode != 200 || servers() != "127.0.0.1 127.0.0.2" {
		t.Fatal("the first request must find all servers: ", resp.Status, servers())
	}
	answered("127.0.0.1", "127.0.0.2")
	n.set("127.0.0.3")
	answered("127.0.0.3")
	until(t, "the old addresses are gone", func() bool { return servers() == "127.0.0.3" })
	answered("127.0.0.3")
	n.current.Store(nil)
	until(t, "the failed lookup is shown", func() bool { return b.p.Groups()[0].Error != "" })
	answered("127.0.0.3")
	n.set("127.0.0.1", "127.0.0.3")
	answered("127.0.0.1", "127.0.0.3")
	if b.p.Groups()[0].Error != "" {
		t.Error("the failure is still shown")
	}
}

// The states of the API have names.
func TestStateNames(t *testing.T) {
	for state, name := range map[upstream.State]string{upstream.Up: "up", upstream.Down: "down", upstream.Ejected: "ejected"} {
		if state.String() != name {
			t.Error(state, name)
		}
	}
}

// However often the addresses of a name change, the number of counters is bounded, and their sum stays.
func TestCountersOfFormerServersAreBounded(t *testing.T) {
	alive := startNamed(t, "127.0.0.1:0", "alive")
	b := startGroup(t, Group{Servers: serversOf(alive)}, nil)
	b.dial().get("/")
	o := b.p.current.Load().o
	g := b.p.current.Load().group
	for i := range goneMax + 100 {
		o.Groups = []Group{{Servers: []Server{{URL: fmt.Sprintf("http://127.1.%d.%d:1", i/250, i%250)}}}}
		if err := b.p.Reload(o); err != nil {
			t.Fatal(err)
		}
		g.members.Load().all[0].count(502, failConnect)
	}
	m := b.p.Metrics()
	if len(m.Upstreams) > goneMax+2 || m.Responses[2] != 1 || m.Responses[5] != goneMax+100 || m.Failures["connect_error"] != goneMax+100 {
		t.Errorf("counters of %d servers, %v responses, %d failures", len(m.Upstreams), m.Responses, m.Failures["connect_error"])
	}
	if first := m.Upstreams[0]; first.Name != otherServers || first.Responses[2] != 1 || first.FirstByteCount != 1 || first.Connects != 1 {
		t.Errorf("%+v", first)
	}
}
