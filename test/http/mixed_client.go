package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// way is one kind of request, with its share in a thousand and the client's behavior.
type way struct {
	share  int
	method string
	kind   string
	body   int  // length of the request's body
	chunks bool // whether the body is sent with chunked coding
	abort  abort
}

// abort is the moment at which the client disconnects.
type abort uint8

const (
	abortNever abort = iota
	abortWaiting
	abortReading
	abortSending
	pipelined // the client stays connected and sends the next request together with this one
)

var ways = []way{
	{355, "GET", kindPlain, 0, false, abortNever},
	{20, "GET", kindMedium, 0, false, abortNever},
	{60, "HEAD", kindHead, 0, false, abortNever},
	{60, "GET", kind204, 0, false, abortNever},
	{60, "GET", kind304, 0, false, abortNever},
	{70, "GET", kindChunked, 0, false, abortNever},
	{20, "GET", kindLarge, 0, false, abortNever},
	{30, "GET", kindClose, 0, false, abortNever},
	{60, "POST", kindPlain, 2000, false, abortNever},
	{40, "POST", kindPlain, 3000, true, abortNever},
	{20, "PUT", kindPlain, 100, false, abortNever},
	{20, "PATCH", kindPlain, 100, false, abortNever},
	{20, "DELETE", kindPlain, 0, false, abortNever},
	{5, "POST", kindPlain, 100_000, false, abortNever},
	{10, "GET", kindTruncate, 0, false, abortNever},
	{5, "GET", kindCut, 0, false, abortNever},
	{10, "GET", kindReset, 0, false, abortNever},
	{5, "POST", kindReset, 10, false, abortNever},
	{10, "GET", kindResetMid, 0, false, abortNever},
	{10, "GET", kindPlain, 0, false, abortWaiting},
	{5, "POST", kindPlain, 50, false, abortWaiting},
	{10, "GET", kindLarge, 0, false, abortReading},
	{10, "POST", kindPlain, 100_000, false, abortSending},
	{10, "GET", kindUpgrade, 0, false, abortNever},
	{25, "GET", kindStale, 0, false, abortNever},
	{10, "PUT", kindStale, 50, false, abortNever},
	{40, "GET", kindPlain, 0, false, pipelined},
}

// alongside is the second request of a pipelining client.
var alongside = way{0, "GET", kindChunked, 0, false, abortNever}

// timeoutsEvery is the interval, in requests, between those to which the origin does not respond.
const timeoutsEvery = 4000

// mixedClient sends each nonce once and checks the response.
type mixedClient struct {
	addr    string
	nonces  uint64
	seed    uint64
	next    atomic.Uint64
	status  []uint16 // by nonce: the status that the client received; 0 if the connection ended first
	aborted []bool   // by nonce: whether the client disconnected
	began   time.Time

	mu      sync.Mutex
	wrong   []string // the first few; guarded by mu
	crossed uint64   // guarded by mu
	failed  uint64   // unexpected, but not the response to another request; guarded by mu
}

func newMixedClient(addr string, nonces, seed uint64) *mixedClient {
	return &mixedClient{addr: addr, nonces: nonces, seed: seed, status: make([]uint16, nonces), aborted: make([]bool, nonces)}
}

// run sends everything over n connections at the same time.
func (c *mixedClient) run(n int) {
	c.began = time.Now()
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			w := &mixedWorker{c: c}
			defer w.drop()
			for {
				nonce := c.next.Add(1) - 1
				if nonce >= c.nonces {
					return
				}
				w.request(nonce, c.choose(nonce))
			}
		})
	}
	workers.Wait()
}

func (c *mixedClient) choose(nonce uint64) way {
	if nonce%timeoutsEvery == timeoutsEvery-1 {
		return way{0, "GET", kindTimeout, 0, false, abortNever}
	}
	at := int(rand.New(rand.NewPCG(c.seed, nonce)).Uint64N(1000))
	for _, w := range ways {
		if at -= w.share; at < 0 {
			return w
		}
	}
	return ways[0]
}

func (c *mixedClient) report(crossed bool, nonce uint64, w way, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if crossed {
		c.crossed++
	} else {
		c.failed++
	}
	if len(c.wrong) < 10 {
		c.wrong = append(c.wrong, fmt.Sprintf("nonce %d (%s %s): ", nonce, w.method, w.kind)+fmt.Sprintf(format, args...))
	}
}

// mixedWorker uses one connection at a time.
type mixedWorker struct {
	c    *mixedClient
	conn *net.TCPConn
	br   *bufio.Reader
}

func (w *mixedWorker) drop() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}

func (w *mixedWorker) connect() error {
	if w.conn != nil {
		return nil
	}
	conn, err := net.Dial("tcp", w.c.addr)
	if err != nil {
		return err
	}
	w.conn = conn.(*net.TCPConn)
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	if w.br == nil {
		w.br = bufio.NewReader(conn)
	} else {
		w.br.Reset(conn)
	}
	return nil
}

func (w *mixedWorker) request(nonce uint64, way way) {
	if err := w.connect(); err != nil {
		w.c.report(false, nonce, way, "%v", err)
		return
	}
	text := requestText(nonce, way)
	second := uint64(0)
	switch way.abort {
	case abortSending:
		w.c.aborted[nonce] = true
		_, _ = io.WriteString(w.conn, text[:len(text)-50_000])
		w.drop()
		return
	case pipelined:
		if second = w.c.next.Add(1) - 1; second < w.c.nonces {
			text += requestText(second, alongside)
		}
	}
	if _, err := io.WriteString(w.conn, text); err != nil {
		w.c.report(false, nonce, way, "send: %v", err)
		w.drop()
		return
	}
	if way.abort == abortWaiting {
		w.c.aborted[nonce] = true
		w.drop()
		return
	}
	ok := w.response(nonce, way)
	if way.abort == pipelined && second < w.c.nonces {
		if ok {
			ok = w.response(second, alongside)
		} else {
			w.c.aborted[second] = true
		}
	}
	if !ok {
		w.drop()
	}
}

func requestText(nonce uint64, w way) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s /n/%d?k=%s HTTP/1.1\r\nHost: mixed.example\r\n", w.method, nonce, w.kind)
	body := ""
	if w.body > 0 {
		body = repeat(strconv.FormatUint(nonce, 10), w.body)
	}
	switch {
	case w.kind == kindUpgrade:
		fmt.Fprintf(&b, "Connection: Upgrade\r\nUpgrade: nonce\r\n\r\n%d", nonce)
	case w.chunks:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", len(body)/2, body[:len(body)/2], len(body)-len(body)/2, body[len(body)/2:])
	case w.body > 0:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	default:
		b.WriteString("\r\n")
	}
	return b.String()
}

// response reads one response and reports whether the connection can be used again.
func (w *mixedWorker) response(nonce uint64, way way) bool {
	resp, err := http.ReadResponse(w.br, &http.Request{Method: way.method}) //nolint:bodyclose // w owns the connection
	if err != nil {
		w.c.report(false, nonce, way, "read the response: %v", err)
		return false
	}
	w.c.status[nonce] = uint16(resp.StatusCode)
	id := strconv.FormatUint(nonce, 10)
	if got := resp.Header.Get("X-Nonce"); got != id && (got != "" || resp.StatusCode < 500) {
		w.c.report(true, nonce, way, "X-Nonce %q with status %d", got, resp.StatusCode)
		return false
	}
	switch way.kind {
	case kindUpgrade:
		if resp.StatusCode != 101 {
			w.c.report(false, nonce, way, "status %d", resp.StatusCode)
			return false
		}
		_ = w.conn.CloseWrite()
		if all, err := io.ReadAll(w.br); err != nil || string(all) != id+" "+id {
			w.c.report(string(all) != id+" "+id, nonce, way, "through the tunnel: %.60q, %v", all, err)
		}
		return false
	case kindLarge:
		if way.abort == abortReading {
			w.c.aborted[nonce] = true
			_, _ = io.CopyN(io.Discard, resp.Body, 10_000)
			return false
		}
	}
	body, err := io.ReadAll(resp.Body)
	w.check(nonce, way, resp, string(body), err)
	return err == nil && !resp.Close
}

// check compares a response with the expected response of the way.
func (w *mixedWorker) check(nonce uint64, way way, resp *http.Response, body string, err error) {
	id := strconv.FormatUint(nonce, 10)
	want, wantBody, cut := 200, id, false
	switch way.kind {
	case kindHead:
		wantBody = ""
	case kind204, kind304:
		want, wantBody = map[string]int{kind204: 204, kind304: 304}[way.kind], ""
	case kindChunked:
		wantBody = id + "."
	case kindMedium:
		wantBody = repeat(id, mediumBytes)
	case kindLarge:
		wantBody = repeat(id, largeBytes)
	case kindTruncate, kindReset:
		want = 502
	case kindTimeout:
		want = 504
	case kindCut:
		wantBody, cut = repeat(id, largeBytes), true
	case kindResetMid:
		wantBody, cut = "ab", true
	case kindPlain:
		if way.body > 0 {
			wantBody = id + repeat(id, way.body)
		}
	}
	if resp.StatusCode == 502 && want == 200 && way.method != "GET" && way.method != "HEAD" || resp.StatusCode == 502 && cut {
		return // a persistent connection died and the request must not be resent, or the response ended within its header
	}
	switch {
	case resp.StatusCode != want:
		w.c.report(false, nonce, way, "status %d, want %d", resp.StatusCode, want)
	case want >= 500:
	case cut && (err == nil || !strings.HasPrefix(wantBody, body)):
		w.c.report(err != nil, nonce, way, "%d bytes, error %v", len(body), err)
	case !cut && (err != nil || body != wantBody):
		w.c.report(err == nil, nonce, way, "body %.40q of %d bytes, want %d: %v", body, len(body), len(wantBody), err)
	}
}
