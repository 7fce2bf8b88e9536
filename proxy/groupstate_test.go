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

// TestEjectionHasABound: whatever fails, at most half of the group is ejected, and never the last usable server.
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

// TestEjectedServerComesBack: a server whose requests fail receives none for a while, and is used again afterwards.
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
	if log := b.log.String(); !strings.Contains(log, "server receives no requests") {
		t.Error(log)
	}
}

// A server that is ejected serves the requests that fail at all others, and is in use again if it does: otherwise its group would be down for as
// long as the ejection takes, although the server is well.
func TestEjectedServerIsBetterThanNone(t *testing.T) {
	first := deadAddr(t)
	second := startNamed(t, "127.0.0.1:0", "second")
	b := startGroup(t, Group{Servers: []Server{{URL: first}, {URL: second.url}}, Eject: Eject{After: 3, For: time.Hour}}, nil)
	c := b.dial()
	for b.state(first).State != "ejected" {
		if resp, _ := c.get("/"); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
	back := startNamed(t, strings.TrimPrefix(first, "http://"), "back")
	_ = second.server.Close()
	for back.requests.Load() < 10 {
		if resp, body := c.get("/"); resp.StatusCode != 200 || body != "back" {
			t.Fatal(resp.Status, body)
		}
	}
	if one, two := b.state(first), b.state(second.url); one.State != "up" || two.State != "ejected" || two.Retried != 3 {
		t.Errorf("%+v\n%+v", one, two)
	}
}

// TestAllServersDown: if no server passes its checks, clients get a response at once.
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
	b := startGroup(t, Group{
		Name: "api", Servers: []Server{{URL: one}, {URL: two}},
		Check: Check{Path: "/ready", Every: 20 * time.Millisecond, Fails: 2, Passes: 2},
	}, nil)
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
	until(t, "the log says so", func() bool { return strings.Contains(b.log.String(), "no server in the group can be used") })
	well.Store(true)
	until(t, "both servers are up", func() bool { return b.state(one).State == "up" && b.state(two).State == "up" })
	if resp, _ := b.dial().get("/"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

// TestReloadKeepsServers: a reload keeps the health, the connections and the counters of the servers that it does not change, and all
// upgraded connections.
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

// names is a name server whose addresses can be changed. If they are nil, lookups fail.
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
			if len(list) < len(addrs) { // another process is using the port on one of the addresses
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

// TestServersByName: every address of a name is a server, and when the addresses change, no request fails.
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

// TestStateNames: the states have names in the API.
func TestStateNames(t *testing.T) {
	for state, name := range map[upstream.State]string{upstream.Up: "up", upstream.Down: "down", upstream.Ejected: "ejected"} {
		if state.String() != name {
			t.Error(state, name)
		}
	}
}

// TestCountersOfFormerServersAreBounded: however often the addresses of a name change, the number of counters is bounded, and their sum
// stays correct.
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
