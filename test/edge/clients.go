package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// path is one of the routes of the topology, with the groups to which its requests can go.
type path struct {
	route  string
	prefix string
	beta   bool // X-Beta: 1
	groups []string
}

var paths = []path{
	{"web", "/web/", false, []string{"nginx"}},
	{"api", "/api/", false, []string{"node"}},
	{"named", "/named/", false, []string{"named"}},
	{"split", "/split/", false, []string{"nginx", "node"}},
	{"beta", "/api/", true, []string{"named"}},
}

// pathOf returns the route of a request, and its method. A fifth of the requests go to each route, and a quarter of these are POSTs.
func pathOf(nonce uint64) (p *path, post bool) {
	return &paths[nonce%uint64(len(paths))], nonce/uint64(len(paths))%4 == 0
}

// result describes the response that a client has received to one request.
type result struct {
	begin, end time.Duration // since the beginning of the traffic
	status     int           // 0: no response
	origin     string        // name in the response; empty: wayside itself generated the response
}

// traffic is a set of clients that send numbered requests at a constant rate.
type traffic struct {
	address  string
	tls      *tls.Config
	requests uint64
	interval time.Duration // time between two requests
	workers  int

	begin   time.Time
	results []result // by nonce
	next    atomic.Uint64
	done    atomic.Uint64

	mu    sync.Mutex
	wrong []string // responses that do not belong to the request, and requests without a response; guarded by mu
}

// run sends all requests, and returns when all of them have a response or have failed.
func (t *traffic) run(ctx context.Context) {
	t.results = make([]result, t.requests)
	t.begin = time.Now()
	var all sync.WaitGroup
	for i := range t.workers {
		all.Go(func() { t.work(ctx, i%2 == 0) })
	}
	all.Wait()
}

// client returns a client with one connection, over HTTP/2 or HTTP/1.1.
func (t *traffic) client(http2 bool) *http.Client {
	transport := &http.Transport{
		TLSClientConfig: t.tls.Clone(), MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Hour,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", t.address)
		},
	}
	if http2 {
		transport.ForceAttemptHTTP2 = true
	} else {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func (t *traffic) work(ctx context.Context, http2 bool) {
	c := t.client(http2)
	defer c.CloseIdleConnections()
	for {
		nonce := t.next.Add(1) - 1
		if nonce >= t.requests {
			return
		}
		time.Sleep(time.Until(t.begin.Add(time.Duration(nonce) * t.interval)))
		if ctx.Err() != nil {
			return
		}
		t.send(ctx, c, nonce)
		t.done.Add(1)
	}
}

// send sends one request, and checks that the response belongs to it.
func (t *traffic) send(ctx context.Context, c *http.Client, nonce uint64) {
	p, post := pathOf(nonce)
	method, body := http.MethodGet, io.Reader(nil)
	if post {
		method, body = http.MethodPost, strings.NewReader("an order that must not be made twice")
	}
	target := fmt.Sprint(p.prefix, nonce)
	req, err := http.NewRequestWithContext(ctx, method, "https://edge.test"+target, body)
	if err != nil {
		t.note("%v", err)
		return
	}
	if p.beta {
		req.Header.Set("X-Beta", "1")
	}
	r := &t.results[nonce]
	r.begin = time.Since(t.begin)
	resp, err := c.Do(req)
	if err != nil {
		r.end = time.Since(t.begin)
		t.note("%s %s has no response: %v", method, target, err)
		return
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	r.end, r.status, r.origin = time.Since(t.begin), resp.StatusCode, resp.Header.Get("X-Origin")
	group, _, _ := strings.Cut(r.origin, "-")
	switch {
	case err != nil:
		t.note("%s %s: the response is not complete: %v", method, target, err)
	case r.status != http.StatusOK && r.origin == "":
	case r.status != http.StatusOK, string(text) != fmt.Sprintln(r.origin, p.route, target), !slices.Contains(p.groups, group):
		t.note("%s %s in the wrong place: %d, %q", method, target, r.status, text)
	}
}

// note records that a response is wrong.
func (t *traffic) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrong = append(t.wrong, fmt.Sprintf(format, args...))
}
