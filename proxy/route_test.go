package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/routecorpus"
)

// marked returns a route that responds itself, with its name in X-Route.
func marked(name string, c RouteConditions) Route {
	return Route{Name: name, Conditions: c, Respond: &RouteResponse{Status: 204}, ResponseFields: FieldRules{Set: []string{"X-Route: " + name}}}
}

// TestRouteCorpus sends the corpus over connections: the proxy must choose the same routes as package route, and record each response.
func TestRouteCorpus(t *testing.T) {
	corpus, err := routecorpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range corpus.Lists {
		b := start(t, deadAddr(t), func(o *Options) {
			for _, r := range l.Routes {
				c := RouteConditions{Host: r.Host, Path: r.Path, Methods: r.Methods}
				for _, h := range r.Headers {
					c.Headers = append(c.Headers, HeaderCondition{Name: h[0], Value: h[1]})
				}
				o.Routes = append(o.Routes, marked(r.Name, c))
			}
		})
		b.responses = len(l.Cases)
		for i, k := range l.Cases {
			c := b.dial()
			c.send(k.Message())
			resp, _ := c.receive(k.Method)
			got := resp.Header.Get("X-Route")
			switch resp.StatusCode {
			case 400:
				got = routecorpus.Refused
			case 404:
				got = routecorpus.None
			}
			if got != k.Want {
				t.Errorf("%s:%d: %s: %s: got %s (%d), want %s", routecorpus.File, k.Line, l.Name, k.Text, got, resp.StatusCode, k.Want)
			}
			if e := b.books.wait(t, i+1)[i]; got != routecorpus.Refused && got != routecorpus.None && string(e.Route) != got {
				t.Errorf("%s: the event has route %q", k.Text, e.Route)
			}
		}
	}
}

// received is the part of a request that an origin has received.
type received struct{ line, host, fields string }

// recording is an origin that records what it receives, byte for byte, and responds with its own name.
func recording(t *testing.T, name string) (url string, last func() received) {
	var s atomic.Pointer[received]
	url = rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			got := received{line: strings.TrimSpace(line)}
			for {
				field, err := br.ReadString('\n')
				if err != nil {
					return
				}
				if field == "\r\n" {
					break
				}
				if host, ok := strings.CutPrefix(field, "Host: "); ok {
					got.host = strings.TrimSpace(host)
				}
				got.fields += field
			}
			s.Store(&got)
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(name), name)
		}
	})
	return url, func() received { return *s.Load() }
}

// toOrigin sends all requests of a route to the origin.
var toOrigin = []RouteTarget{{Weight: 1}}

// TestForwardedBytes: routes compare a normal form of the path, but the origin gets the bytes that the client sent, except for a stripped prefix.
func TestForwardedBytes(t *testing.T) {
	up, last := recording(t, "up")
	b := start(t, up, func(o *Options) {
		o.Routes = []Route{
			{Name: "app", Conditions: RouteConditions{Path: "/app/*"}, To: toOrigin, StripPrefix: "/app", RewriteHost: true},
			{Name: "rest", To: toOrigin},
		}
	})
	b.responses = -1
	c := b.dial()
	for _, tt := range []struct{ target, line, route string }{
		{"/x//./y%7e%2F?q=%2f", "/x//./y%7e%2F?q=%2f", "rest"},
		{"/app/x%2Fy//z?q", "/x%2Fy//z?q", "app"},
		{"/app", "/", "app"},
		{"/app?a=/app/", "/?a=/app/", "app"},
		{"/%61pp//./x", "/./x", "app"},
		{"//app///evil.example/", "/evil.example/", "app"},
		{"/apples", "/apples", "rest"},
		{"http://other.example/app/x", "/x", "app"},
		{"http://other.example", "/", "rest"},
	} {
		c.send("GET " + tt.target + " HTTP/1.1\r\nHost: Client.example\r\n\r\n")
		if resp, body := c.receive("GET"); resp.StatusCode != 200 || body != "up" {
			t.Fatal(tt.target, resp, body)
		}
		got := last()
		if got.line != "GET "+tt.line+" HTTP/1.1" {
			t.Errorf("%s: the origin received %q", tt.target, got.line)
		}
		wantHost, forwarded := "Client.example", "Client.example"
		if strings.HasPrefix(tt.target, "http:") {
			wantHost, forwarded = "other.example", "other.example"
		}
		if tt.route == "app" {
			wantHost = strings.TrimPrefix(up, "http://")
		}
		if got.host != wantHost || !strings.Contains(got.fields, "X-Forwarded-Host: "+forwarded+"\r\n") || strings.Count(got.fields, "\r\nHost:") > 1 {
			t.Errorf("%s: host %q, want %q: %q", tt.target, got.host, wantHost, got.fields)
		}
		events := b.books.all()
		if e := events[len(events)-1]; string(e.Route) != tt.route || len(e.ErrorType) > 0 {
			t.Errorf("%s: %+v", tt.target, e)
		}
	}
}

// TestRewrittenHostWithBody: the header before a body is changed, but the body is not.
func TestRewrittenHostWithBody(t *testing.T) {
	up := origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.Host, body)
	})
	b := start(t, up, func(o *Options) { o.Routes = []Route{{Name: "all", To: toOrigin, RewriteHost: true}} })
	b.responses = 3
	c := b.dial()
	for _, host := range []string{"a", "a.much.longer.name.than.that.of.the.origin.example.org:8080", strings.TrimPrefix(up, "http://")} {
		c.send("POST / HTTP/1.1\r\nHost:   " + host + " \r\nContent-Length: 11\r\n\r\nHost: body\n")
		if _, body := c.receive("POST"); body != strings.TrimPrefix(up, "http://")+" Host: body\n" {
			t.Errorf("%q", body)
		}
	}
}

// TestFieldsThatConditionsSee: conditions see the same fields as the service, so a client cannot meet a condition with a field that is removed.
func TestFieldsThatConditionsSee(t *testing.T) {
	b := start(t, deadAddr(t), func(o *Options) {
		field := func(name, value string) RouteConditions {
			return RouteConditions{Headers: []HeaderCondition{{Name: name, Value: value}}}
		}
		o.Routes = []Route{
			marked("proto", field("X-Forwarded-Proto", "https")), marked("socket", field("Upgrade", "websocket")), marked("beta", field("X-Beta", "1")),
			marked("type", field("Content-Type", "application/grpc")), marked("rest", RouteConditions{}),
		}
	})
	b.responses = -1
	for _, tt := range []struct{ fields, want string }{
		{"X-Forwarded-Proto: https", "rest"},
		{"Upgrade: websocket", "rest"},
		{"Connection: Upgrade\r\nUpgrade: websocket", "socket"},
		{"X-Beta:1", "beta"},
		{"Connection: X-Beta\r\nX-Beta: 1", "rest"},
		{"X-Beta:\t1 ", "beta"},
		{"X-Beta: 2\r\nX-Beta: 1", "beta"},
		{"x-beta: 1, 1", "rest"},
		{"content-type: application/grpc", "type"},
	} {
		c := b.dial()
		c.send("GET / HTTP/1.1\r\nHost: a\r\n" + tt.fields + "\r\n\r\n")
		if resp, _ := c.receive("GET"); resp.Header.Get("X-Route") != tt.want {
			t.Errorf("%q: %s, want %s", tt.fields, resp.Header.Get("X-Route"), tt.want)
		}
	}
}

// TestAllow: behind a trusted proxy, the address that the proxy reports is used; a client that connects directly cannot claim another address.
func TestAllow(t *testing.T) {
	routes := []Route{{
		Name: "inside", Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
		Respond: &RouteResponse{Status: 200},
	}}
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, tt := range []struct {
		trusted []netip.Prefix
		fields  string
		status  int
	}{
		{nil, "", 403},
		{nil, "X-Forwarded-For: 10.1.2.3\r\n", 403},
		{loopback, "", 403},
		{loopback, "X-Forwarded-For: 10.1.2.3\r\n", 200},
		{loopback, "X-Forwarded-For: 10.1.2.3, 192.0.2.1\r\n", 403},
		{loopback, "Forwarded: for=\"[2001:db8::7]:80\"\r\n", 200},
		{append(loopback, netip.MustParsePrefix("192.0.2.0/24")), "X-Forwarded-For: 11.0.0.1, 10.1.2.3, 192.0.2.1\r\n", 200},
		{loopback, "X-Forwarded-For: ::ffff:10.1.2.3\r\n", 200},
	} {
		b := start(t, deadAddr(t), func(o *Options) { o.Routes, o.TrustedProxies = routes, tt.trusted })
		b.responses = 1
		c := b.dial()
		c.send("GET / HTTP/1.1\r\nHost: a\r\n" + tt.fields + "\r\n")
		resp, _ := c.receive("GET")
		if resp.StatusCode != tt.status || resp.Close {
			t.Errorf("%v %q: %d, want %d", tt.trusted, tt.fields, resp.StatusCode, tt.status)
		}
		if tt.status == 403 {
			if e := b.expect(0, 403, "not_allowed"); string(e.Route) != "inside" {
				t.Errorf("%+v", e)
			}
		}
	}
}

// TestRouteLimits: a route has its own limits for the body and for the time to respond.
func TestRouteLimits(t *testing.T) {
	release := make(chan struct{})
	up := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/slow") {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		_, _ = io.Copy(w, r.Body)
	})
	t.Cleanup(func() { close(release) })
	b := start(t, up, func(o *Options) {
		o.MaxRequestBodyBytes = 10
		o.Routes = []Route{
			{Name: "short", Conditions: RouteConditions{Path: "/short/*"}, To: toOrigin, ResponseTimeout: 50 * time.Millisecond},
			{Name: "large", Conditions: RouteConditions{Path: "/large"}, To: toOrigin, MaxRequestBodyBytes: 100},
			{Name: "any", Conditions: RouteConditions{Path: "/any"}, To: toOrigin, MaxRequestBodyBytes: -1},
			{Name: "rest", To: toOrigin},
		}
	})
	b.responses = -1
	post := func(path string, n int, chunked bool) int {
		c := b.dial()
		body := strings.Repeat("x", n)
		if chunked {
			c.send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", path, n, body))
		} else {
			c.send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", path, n, body))
		}
		resp, _ := c.receive("POST")
		return resp.StatusCode
	}
	for _, tt := range []struct {
		path   string
		n      int
		status int
	}{{"/x", 10, 200}, {"/x", 11, 413}, {"/large", 100, 200}, {"/large", 101, 413}, {"/any", 200_000, 200}} {
		for _, chunked := range []bool{false, true} {
			if got := post(tt.path, tt.n, chunked); got != tt.status {
				t.Errorf("%s with %d bytes (chunked %v): %d, want %d", tt.path, tt.n, chunked, got, tt.status)
			}
		}
	}
	if resp, _ := b.dial().get("/short/slow"); resp.StatusCode != 504 {
		t.Error(resp)
	}
	events := b.books.all()
	if e := events[len(events)-1]; string(e.ErrorType) != "timeout" || string(e.Route) != "short" {
		t.Errorf("%+v", e)
	}
}

// TestRouteFields: a route's field rules are applied after those of the whole proxy.
func TestRouteFields(t *testing.T) {
	up, last := recording(t, "up")
	b := start(t, up, func(o *Options) {
		o.RequestFields = FieldRules{Set: []string{"X-A: all"}, Add: []string{"X-B: all"}}
		o.Routes = []Route{
			{Name: "own", Conditions: RouteConditions{Path: "/own"}, To: toOrigin, RequestFields: FieldRules{Set: []string{"X-B: own"}, Remove: []string{"X-C"}}},
			{Name: "rest", To: toOrigin},
		}
	})
	b.responses = 2
	c := b.dial()
	for _, tt := range []struct {
		path, want string
	}{{"/own", "X-A: all\r\nX-B: own\r\n"}, {"/", "X-C: 1\r\nX-A: all\r\nX-B: all\r\n"}} {
		c.send("GET " + tt.path + " HTTP/1.1\r\nHost: a\r\nX-C: 1\r\n\r\n")
		c.receive("GET")
		got := ""
		for _, line := range strings.SplitAfter(last().fields, "\n") {
			if strings.HasPrefix(line, "X-A") || strings.HasPrefix(line, "X-B") || strings.HasPrefix(line, "X-C") {
				got += line
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.path, got, tt.want)
		}
	}
}

// TestRoutesReload: requests that begin after a reload use the new routes, even on the same connection.
func TestRoutesReload(t *testing.T) {
	b := start(t, deadAddr(t), func(o *Options) { o.Routes = []Route{marked("one", RouteConditions{Path: "/x"})} })
	b.responses = 4
	c := b.dial()
	want := func(path string, status int, name string) {
		t.Helper()
		if resp, _ := c.get(path); resp.StatusCode != status || resp.Header.Get("X-Route") != name {
			t.Errorf("%s: %d %s", path, resp.StatusCode, resp.Header.Get("X-Route"))
		}
	}
	want("/x", 204, "one")
	want("/y", 404, "")
	o := b.p.current.Load().o
	o.Routes = []Route{marked("two", RouteConditions{Path: "/*"})}
	if err := b.p.Reload(o); err != nil {
		t.Fatal(err)
	}
	want("/y", 204, "two")
	bad := o
	bad.Routes = []Route{marked("bad", RouteConditions{Path: "x"})}
	if err := b.p.Reload(bad); err == nil {
		t.Error("a route that can never match is accepted")
	}
	want("/x", 204, "two")
}

// TestRouteErrors: New returns an error for a route that cannot work.
func TestRouteErrors(t *testing.T) {
	for _, r := range []Route{
		{Name: "nothing"},
		{Name: "two", To: toOrigin, Redirect: "/x"},
		{Name: "zero", To: []RouteTarget{{Weight: 0}}},
		{Name: "status", Respond: &RouteResponse{Status: 101}},
		{Name: "type", Respond: &RouteResponse{Status: 200, ContentType: "a\r\nb"}},
		{Name: "prefix", To: toOrigin, StripPrefix: "app"},
		{Name: "slash", To: toOrigin, StripPrefix: "/app/"},
		{Name: "users", To: toOrigin, Users: "a:$apr1$x$y"},
		{Name: "fields", To: toOrigin, RequestFields: FieldRules{Set: []string{"Connection: x"}}},
		{Name: "path", To: toOrigin, Conditions: RouteConditions{Path: "/a/../b"}},
	} {
		if _, err := New(Options{Upstream: "http://127.0.0.1:1", Routes: []Route{r}}); err == nil {
			t.Errorf("%s: no error", r.Name)
		} else {
			t.Log(err)
		}
	}
}

// TestWeightedGroups: the groups of a route take turns in proportion to their weights, mixed evenly.
func TestWeightedGroups(t *testing.T) {
	a, b, none := &group{name: "a"}, &group{name: "b"}, &group{name: "none"}
	s := &routeSettings{}
	err := s.setAction(&Route{To: []RouteTarget{{"a", 90}, {"none", 0}, {"b", 10}}}, map[string][]byte{"a": nil, "b": nil, "none": nil})
	if err != nil {
		t.Fatal(err)
	}
	(&routing{routes: []*routeSettings{s}}).bind([]*group{none, a, b})
	const n = 100_000
	count, run, longest := map[*group]int{}, 0, 0
	for range n {
		g := s.group()
		count[g]++
		if run++; g == b {
			run = 0
		}
		longest = max(longest, run)
	}
	if count[none] > 0 || count[a] < n*90/100-n/1000 || count[a] > n*90/100+n/1000 || longest > 20 {
		t.Errorf("%d to a, %d to b, longest run %d", count[a], count[b], longest)
	}
}
