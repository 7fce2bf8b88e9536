package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/h2peer"
)

const (
	http2Connections = 4  // number of client connections over HTTP/2
	http2Streams     = 16 // number of requests in progress on each connection
)

// startHTTP2Origin starts an application that responds to every request with e2e.OriginBody over HTTP/2 in cleartext.
func startHTTP2Origin() (*h2peer.Server, error) {
	return h2peer.Serve(h2peer.Options{}, nil, func(s *h2peer.Stream, _ []hpack.HeaderField) {
		s.Headers(h2peer.Fields(":status", "200"), false)
		_ = s.Send(e2e.OriginBody, true)
	})
}

// runKillHTTP2 is like runKill, with clients that speak HTTP/2. In half of the trials, the server also speaks HTTP/2.
func runKillHTTP2(ctx context.Context, l *Lab, p *Piece) error {
	return p.groups(ctx, l, killsPerTrial, func(random *rand.Rand, first, n int) (Outcome, error) {
		number := first / killsPerTrial
		t, err := l.newTrial(busyEnv...)
		if err != nil {
			return Outcome{}, err
		}
		t.http2 = true
		upstream := l.origin
		if number/2%2 == 1 {
			upstream = l.http2.URL()
		}
		t.w.Args = []string{"--upstream", upstream}
		o, err := killRepeatedly(ctx, t, random, n, number%2 == 1)
		t.end(err != nil)
		o.Note += ", server " + upstream
		return o, err
	})
}

// startHTTP2 is like start, over HTTP/2 and at full speed. A request is sent again only if wayside reports that it has not processed the
// request.
func (t *traffic) startHTTP2(ctx context.Context, address string) {
	ctx, t.cancel = context.WithCancel(ctx)
	t.done = make(chan error, 1)
	r := &http2Run{t: t, address: address}
	r.next.Store(t.next)
	t.next += nonceStep
	began := time.Now()
	var workers sync.WaitGroup
	var conns [http2Connections]*http2Connection
	for i := range conns {
		c := &http2Connection{run: r}
		conns[i] = c
		for range http2Streams {
			workers.Go(func() { c.work(ctx) })
		}
	}
	go func() {
		workers.Wait()
		for _, c := range conns {
			c.close()
		}
		r.report.Elapsed = time.Since(began)
		t.add(&r.report)
		t.done <- r.err
	}()
}

// http2Run is the state that the connections of a run share.
type http2Run struct {
	t       *traffic
	address string
	next    atomic.Uint64

	mu     sync.Mutex
	report load.Report // guarded by mu
	err    error       // guarded by mu
}

// http2Connection holds one connection at a time.
type http2Connection struct {
	run  *http2Run
	mu   sync.Mutex
	conn *h2peer.Conn // guarded by mu
}

func (c *http2Connection) work(ctx context.Context) {
	for ctx.Err() == nil {
		nonce := c.run.next.Add(1) - 1
		for again := true; again; {
			stream, err := c.open(ctx, nonce)
			if err != nil {
				c.run.giveUp(ctx, err)
				return
			}
			r, err := stream.Response()
			if again = errors.Is(err, h2peer.ErrNotProcessed); !again {
				c.run.note(nonce, r, err)
			}
		}
	}
}

// open opens a stream for a request, on a new connection if necessary. It keeps trying until wayside listens again.
func (c *http2Connection) open(ctx context.Context, nonce uint64) (*h2peer.Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for limit := time.Now().Add(30 * time.Second); time.Now().Before(limit) && ctx.Err() == nil; sleep(ctx, 5*time.Millisecond) {
		if c.conn == nil {
			if c.conn, err = h2peer.Dial(ctx, c.run.address, h2peer.Options{Timeout: 20 * time.Second}); err != nil {
				c.conn = nil
				continue
			}
		}
		c.run.t.sent.Set(nonce) // even if no stream begins, because the books may contain only nonces in this set
		fields := h2peer.Fields(":method", "GET", ":scheme", "http", ":authority", c.run.address, ":path", string(load.Path(nil, nonce)))
		var s *h2peer.Stream
		if s, err = c.conn.Open(fields, true); err == nil {
			return s, nil
		}
		c.conn = nil // the connection has ended, or ends after its last stream
	}
	return nil, errors.Join(err, ctx.Err())
}

func (c *http2Connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.Close()
	}
}

// giveUp records that no connection could be made, unless the run has ended.
func (r *http2Run) giveUp(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = fmt.Errorf("%w: %w", load.ErrNoConnection, err)
}

// note counts a request that was sent, and its response.
func (r *http2Run) note(nonce uint64, resp h2peer.Response, err error) {
	kind := load.Kind("")
	switch {
	case errors.Is(err, h2peer.ErrTimeout):
		kind = load.KindTimeout
	case err != nil && resp.Status == 0:
		kind = load.KindClosed
	case err != nil:
		kind = load.KindTruncated
	case resp.Status != 200 || resp.Body != e2e.OriginBody:
		kind, err = load.KindVerify, fmt.Errorf("status %d, body %.40q", resp.Status, resp.Body)
	}
	r.t.counters.Sent.Add(1)
	if err == nil || kind == load.KindVerify {
		r.t.received.Set(nonce)
		r.t.counters.Received.Add(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Sent++
	if kind == "" {
		r.report.Received++
		r.report.Completed++
		return
	}
	if kind == load.KindVerify {
		r.report.Received++
	}
	if r.report.Failed == nil {
		r.report.Failed = map[load.Kind]uint64{}
	}
	r.report.Failed[kind]++
	if len(r.report.Errors) < 8 {
		r.report.Errors = append(r.report.Errors, fmt.Sprintf("nonce %d: %v", nonce, err))
	}
}
