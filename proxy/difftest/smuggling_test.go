package difftest

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/httpcorpus"
	"github.com/wayside-proxy/wayside/test/loopback"
)

// request is a request that an origin believes it has received completely.
type request struct{ Method, URI, Body string }

// origin is a server together with a function that returns the requests received since the last call.
type origin struct {
	name     string
	addr     string
	received func() []request
}

// ledger records requests.
type ledger struct {
	mu  sync.Mutex
	all []request
}

func (l *ledger) take() []request {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all
	l.all = nil
	return all
}

// ServeHTTP records a request that has arrived completely, and responds with the request's target.
func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	l.mu.Lock()
	l.all = append(l.all, request{r.Method, r.RequestURI, string(body)})
	l.mu.Unlock()
	_, _ = io.WriteString(w, r.RequestURI)
}

func goOrigin(t *testing.T, name string) origin {
	l := &ledger{}
	server := &http.Server{Handler: l, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second}
	ln := listen(t)
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	return origin{name, ln.Addr().String(), l.take}
}

// behind returns an origin that is a proxy in front of a server. The requests that reach the server are those that the proxy has understood.
func behind(t *testing.T, name string, start func(*testing.T, string) string) origin {
	o := goOrigin(t, name)
	o.addr = start(t, o.addr)
	return o
}

const nodeOrigin = `
let all = [];
const server = require('http').createServer((req, res) => {
  if (req.url === '/received') { res.end(JSON.stringify(all)); all = []; return; }
  const parts = [];
  req.on('data', d => parts.push(d));
  req.on('end', () => {
    all.push({Method: req.method, URI: req.url, Body: Buffer.concat(parts).toString('latin1')});
    res.end(req.url);
  });
});
server.keepAliveTimeout = 60000;
server.listen(Number(process.argv[2].split(':')[1]), '127.0.0.1');
`

func node(t *testing.T) origin {
	path := need(t, "node")
	addr := loopback.Free(t)
	run(t, addr, path, writeFile(t, "origin.js", nodeOrigin), addr)
	return origin{"node", addr, func() []request {
		resp, err := http.Get("http://" + addr + "/received")
		if err != nil {
			t.Error(err)
			return nil
		}
		defer func() { _ = resp.Body.Close() }()
		var all []request
		if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
			t.Error(err)
		}
		for i := range all { // each rune represents one byte
			b := make([]byte, 0, len(all[i].Body))
			for _, c := range all[i].Body {
				b = append(b, byte(c))
			}
			all[i].Body = string(b)
		}
		return all
	}}
}

// TestSmuggling sends the corpus through wayside to four origins. They must agree on the number and the bodies of the requests, and no request
// may be the smuggled one. The next client on the same upstream connection must get its own response.
func TestSmuggling(t *testing.T) {
	origins := []origin{goOrigin(t, "net/http"), behind(t, "nginx", nginx), behind(t, "haproxy", haproxy), node(t)}
	corpus := httpcorpus.Requests()
	believed := make([][][]request, len(origins))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	t.Run("send", func(t *testing.T) {
		for i, o := range origins {
			believed[i] = make([][]request, len(corpus))
			t.Run(o.name, func(t *testing.T) {
				t.Parallel()
				addr, books := wayside(t, o.addr)
				for k, c := range corpus {
					believed[i][k] = smuggle(t, addr, o, k, c)
				}
				if got, want := books.n.Load(), int64(2*len(corpus)); got != want {
					t.Errorf("%d responses recorded, want %d", got, want)
				}
			})
		}
	})
	hostile, served := 0, 0
	for k, c := range corpus {
		want := 0
		if c.Status == 0 {
			want = 1
			served++
		} else {
			hostile++
		}
		for i, o := range origins {
			if got := believed[i][k]; len(got) != want || !slices.Equal(got, believed[0][k]) {
				t.Errorf("%s: %q: %s believes %q, %s %q", c.Name, c.Raw, o.name, got, origins[0].name, believed[0][k])
			}
		}
	}
	if t.Failed() {
		return
	}
	t.Logf("%d hostile and %d odd requests, %d origins agree, 0 canaries crossed", hostile, served, len(origins))
}

// smuggle sends one request from the corpus and then another request. It returns the requests that the origin has read from the first one.
func smuggle(t *testing.T, addr string, o origin, k int, c httpcorpus.Request) []request {
	raw := c.Raw
	if c.Status != 0 {
		raw += httpcorpus.Smuggled
	}
	answer, ok := converse(t, addr, raw)
	status := c.Status
	if status == 0 {
		status = 200
	}
	if !ok || !strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", status)) || strings.Count(answer, "HTTP/1.1 ") != 1 {
		t.Errorf("%s to %s: %q: answered %q", c.Name, o.name, c.Raw, answer)
	}
	next := fmt.Sprintf("/next/%d", k)
	answer, _ = converse(t, addr, "GET "+next+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 200 ") || !strings.Contains(answer, next) || strings.Contains(answer, httpcorpus.Canary) {
		t.Errorf("%s to %s: the next request got %q", c.Name, o.name, answer)
	}
	return o.withoutNext(t, next, c.Name, c.Raw)
}

// withoutNext returns the requests that the origin has received, without the one for next, which it must have received once. The name and the
// content of the hostile request are for errors.
func (o origin) withoutNext(t *testing.T, next, name string, content any) (rest []request) {
	t.Helper()
	own := 0
	for _, r := range o.received() {
		switch {
		case r.URI == next:
			own++
		case strings.HasPrefix(r.URI, httpcorpus.Canary):
			t.Errorf("%s to %s: %q: CANARY %+v", name, o.name, content, r)
		default:
			rest = append(rest, r)
		}
	}
	if own != 1 {
		t.Errorf("%s to %s: the next request arrived %d times", name, o.name, own)
	}
	return rest
}

// TestResponseSmuggling lets an origin respond to every second request with a hostile response, no part of which may reach another client.
func TestResponseSmuggling(t *testing.T) {
	ln := listen(t)
	t.Cleanup(func() { _ = ln.Close() })
	corpus := httpcorpus.Responses()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go answerHostile(conn, corpus)
		}
	}()
	addr, books := wayside(t, ln.Addr().String())
	for k, c := range corpus {
		answer, _ := converse(t, addr, fmt.Sprintf("GET /evil/%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", k))
		if c.Late != strings.HasPrefix(answer, "HTTP/1.1 200 ") || !c.Late && !strings.Contains(answer, "HTTP/1.1 502 ") { // perhaps after interim responses
			t.Errorf("%s: %q: %q", c.Name, c.Raw, answer)
		}
		next := fmt.Sprintf("/next/%d", k)
		after, _ := converse(t, addr, "GET "+next+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if !strings.HasSuffix(after, next) || strings.Contains(answer+after, httpcorpus.Canary) {
			t.Errorf("%s: %q: %q, then %q", c.Name, c.Raw, answer, after)
		}
	}
	if got, want := books.n.Load(), int64(2*len(corpus)); got != want {
		t.Errorf("%d responses recorded, want %d", got, want)
	}
	if t.Failed() {
		return
	}
	t.Logf("%d hostile responses, 0 canaries crossed", len(corpus))
}

func answerHostile(conn net.Conn, corpus []httpcorpus.Response) {
	defer func() { _ = conn.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf) // the proxy writes a request without a body at once
		if err != nil {
			return
		}
		var k int
		target := strings.Fields(string(buf[:n]))[1]
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(target), target)
		if _, err := fmt.Sscanf(target, "/evil/%d", &k); err == nil {
			answer = corpus[k].Raw
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}
