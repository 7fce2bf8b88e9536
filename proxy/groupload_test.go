package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// mortal is an origin that can be killed like a process: the kernel resets its connections and refuses new ones.
type mortal struct {
	ln    net.Listener
	wg    sync.WaitGroup
	posts *sync.Map // nonces of all POSTs that any origin has read
	twice *atomic.Int64

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func startMortal(t *testing.T, addr string, posts *sync.Map, twice *atomic.Int64) *mortal {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	m := &mortal{ln: ln, posts: posts, twice: twice}
	m.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.conns = append(m.conns, conn)
			m.mu.Unlock()
			m.wg.Go(func() { m.serve(conn) })
		}
	})
	t.Cleanup(m.kill)
	return m
}

func (m *mortal) serve(conn net.Conn) {
	br := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if r.Method == "POST" {
			if _, again := m.posts.LoadOrStore(r.URL.Path, true); again {
				m.twice.Add(1)
			}
		}
		if _, err = io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		time.Sleep(200 * time.Microsecond) // so that some requests are being worked on when it dies
		if _, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

// kill ends the origin immediately.
func (m *mortal) kill() {
	_ = m.ln.Close()
	m.mu.Lock()
	for _, conn := range m.conns {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	m.conns = nil
	m.mu.Unlock()
	m.wg.Wait()
}

// TestServersDieUnderLoad: servers die and come back under load. No GET fails. A POST fails only if a server had read it when it died,
// or if it was on its way to that server. No POST is read twice.
func TestServersDieUnderLoad(t *testing.T) {
	const clients, each, servers = 8, 400, 3
	var posts sync.Map
	var twice, failed, gets, number atomic.Int64
	origins := make([]*mortal, servers)
	g := Group{Eject: Eject{For: 50 * time.Millisecond}, Retries: servers - 1, Balance: Least}
	for i := range origins {
		origins[i] = startMortal(t, "127.0.0.1:0", &posts, &twice)
		g.Servers = append(g.Servers, Server{URL: "http://" + origins[i].ln.Addr().String()})
	}
	b := startGroup(t, g, nil)
	var wg sync.WaitGroup
	for range clients {
		c := b.dial()
		wg.Go(func() {
			for i := range each {
				if i%4 > 0 {
					if resp, _ := c.get("/"); resp.StatusCode != 200 {
						gets.Add(1)
					}
					continue
				}
				c.send("POST /" + time.Duration(number.Add(1)).String() + " HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
				if resp, _ := c.receive("POST"); resp.StatusCode != 200 {
					failed.Add(1)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	deaths := 0
	for running := true; running; {
		m := origins[deaths%servers]
		addr := m.ln.Addr().String()
		m.kill()
		deaths++
		time.Sleep(20 * time.Millisecond)
		origins[(deaths-1)%servers] = startMortal(t, addr, &posts, &twice)
		select {
		case <-done:
			running = false
		case <-time.After(60 * time.Millisecond):
		}
	}
	events := b.books.wait(t, clients*each)
	kinds := make(map[string]int64)
	sent := 0
	for _, e := range events {
		if e.Status == 200 {
			continue
		}
		kind := string(e.ErrorType)
		kinds[kind]++
		if string(e.Method) == "POST" && (kind == "connection_reset" || kind == "upstream_truncated") {
			sent++
		}
	}
	t.Logf("%d deaths, %d of %d requests have failed: %v", deaths, failed.Load()+gets.Load(), clients*each, kinds)
	if gets.Load() != 0 {
		t.Errorf("%d GETs have failed", gets.Load())
	}
	if twice.Load() != 0 {
		t.Errorf("%d POSTs were read twice", twice.Load())
	}
	if int64(sent) != failed.Load() {
		t.Errorf("%d POSTs have failed, and %d had been sent to a server that died", failed.Load(), sent)
	}
	if most := int64(deaths * clients); failed.Load() > most {
		t.Errorf("%d POSTs have failed; %d servers died with at most %d requests each", failed.Load(), deaths, clients)
	}
}

// TestLeastAvoidsASlowServer: with the balance "least", a slow server receives fewer requests than with round robin, so fewer clients
// have to wait for it. -v shows the latencies.
func TestLeastAvoidsASlowServer(t *testing.T) {
	const clients, each = 16, 100
	slowShare := make(map[Balance]int64)
	for _, balance := range []Balance{RoundRobin, Least} {
		origins := namedOrigins(t, 3)
		var slow atomic.Int64
		url := origin(t, func(http.ResponseWriter, *http.Request) {
			slow.Add(1)
			time.Sleep(20 * time.Millisecond)
		})
		b := startGroup(t, Group{Servers: append(serversOf(origins...), Server{URL: url}), Balance: balance}, nil)
		var wg sync.WaitGroup
		for range clients {
			c := b.dial()
			wg.Go(func() {
				for range each {
					c.get("/")
				}
			})
		}
		wg.Wait()
		var took []uint64
		for _, e := range b.books.wait(t, clients*each) {
			took = append(took, e.DurationMicros)
		}
		slices.Sort(took)
		slowShare[balance] = slow.Load()
		t.Logf("%s: median %d µs, p90 %d µs, p99 %d µs; the slow server received %d of %d requests", balance, took[len(took)/2],
			took[len(took)*90/100], took[len(took)*99/100], slow.Load(), len(took))
	}
	if slowShare[RoundRobin] != clients*each/4 || slowShare[Least] > slowShare[RoundRobin]/2 {
		t.Errorf("requests to the slow server: %v", slowShare)
	}
}
