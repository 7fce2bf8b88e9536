package proxy

import (
	"net"
	"slices"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http2"
)

// h2Links manages the connections to a server that speaks HTTP/2 or may do so. For such a server, the pool counts requests instead of
// connections, and allows as many as all connections together can carry. h2Links gives each request a place on a connection. Fields are
// guarded by mu unless their comment says otherwise.
//
// A request uses a connection of its own driver if one has room, so that no thread has to be woken. Otherwise, it opens another connection if
// the limit allows that, or uses a connection of another driver.
type h2Links struct {
	pool   *pool // not guarded, like the other fields before mu
	root   *Proxy
	prior  bool   // the server is known to speak HTTP/2; otherwise the TLS handshake decides
	scheme string // scheme of the requests
	// pause is how long a server may be silent before it is sent a PING, and patience how long it may take to acknowledge the PING.
	pause, patience time.Duration

	mu       sync.Mutex
	max      int // maximum number of connections
	speaks   h2Protocol
	list     []*h2Link
	dialling map[driver]int
	waiting  []*h2Waiter
	closed   bool
}

// newH2Links prepares connections to a server, but opens none.
func newH2Links(p *pool, key *serverKey, root *Proxy) *h2Links {
	s := &h2Links{
		pool: p, root: root, prior: key.h2c, scheme: "http", max: p.conns, dialling: make(map[driver]int), pause: pingPause, patience: pingTimeout,
	}
	if key.tls {
		s.scheme = "https"
	} else {
		p.share(h2StreamsMax)
	}
	return s
}

// h2WindowBytes is how much of a response is received before the client reads it. A connection's window has room for the windows of all its
// streams, so a client that does not read does not delay others.
const h2WindowBytes = 64<<10 - 1

// h2Protocol is the protocol that the server spoke on the last connection.
type h2Protocol uint8

const (
	h2Unknown h2Protocol = iota
	h2Spoken
	h2NotSpoken
)

// h2Waiter is a request that is waiting for a place.
type h2Waiter struct {
	ready signal
	err   error // why the server cannot be reached; nil if it can be; written before ready is set
}

func (s *h2Links) options() *Options { return &s.root.current.Load().o }

// now returns the sweeper's time.
func (s *h2Links) now() int64 { return s.pool.sweeper.now.Load() }

// open returns a stream to the server as a connection. If it returns nil without an error, the server speaks HTTP/1.1. The client may be nil.
func (s *h2Links) open(d driver, client *clientConn) (*upstreamConn, error) {
	suspected := false
	for began := time.Now(); ; {
		s.mu.Lock()
		if s.speaks == h2NotSpoken {
			s.mu.Unlock()
			return nil, nil
		}
		call, dial := s.place(d, client)
		if call != nil {
			s.mu.Unlock()
			return s.pool.connOf(call, true), nil
		}
		if dial {
			s.dialling[d]++
			s.mu.Unlock()
			return s.dial(d, client)
		}
		w := &h2Waiter{ready: d.signal()}
		s.waiting = append(s.waiting, w)
		pending := len(s.dialling) > 0
		s.mu.Unlock()
		left := s.pool.wait - time.Since(began)
		if left <= 0 && !pending {
			s.forget(w)
			return nil, s.pool.busy
		}
		ready := w.ready.Wait(roomRetry)
		s.forget(w)
		switch {
		case ready && w.err != nil:
			return nil, w.err
		case client != nil && client.watch.leaves(&suspected):
			return nil, errClientLeft
		}
	}
}

// place reserves a place on a connection. If there is none, dial reports whether the caller must open another connection; otherwise the
// caller must wait. The caller must hold mu.
func (s *h2Links) place(d driver, client *clientConn) (call *h2Call, dial bool) {
	live, unsettled := 0, s.dialling[d] > 0
	for _, l := range s.list {
		if l.driver == d {
			if call = l.place(d, client); call != nil {
				return call, false
			}
			unsettled = unsettled || l.unsettled()
		}
		if !l.isRetired() {
			live++
		}
	}
	for _, n := range s.dialling {
		live += n
	}
	if unsettled {
		return nil, false
	}
	if live < s.max {
		return nil, true
	}
	for _, l := range s.list {
		if call = l.place(d, client); call != nil {
			return call, false
		}
	}
	return nil, false
}

func (l *h2Link) isRetired() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.retired
}

// dial opens a connection and, if the server speaks HTTP/2, reserves a place on it.
func (s *h2Links) dial(d driver, client *clientConn) (u *upstreamConn, err error) {
	defer func() {
		s.mu.Lock()
		if s.dialling[d]--; s.dialling[d] == 0 {
			delete(s.dialling, d)
		}
		alone := len(s.list) == 0
		s.mu.Unlock()
		if err != nil && alone {
			s.retry(err)
		} else {
			s.retry(nil)
		}
	}()
	if u, err = s.pool.dial(d, s.pool.target); err != nil {
		return nil, err
	}
	return s.adopt(u, client), nil
}

// adopt adds a new connection. If the server speaks HTTP/2 on it, adopt returns a call.
func (s *h2Links) adopt(u *upstreamConn, client *clientConn) *upstreamConn {
	if !s.prior && !negotiatedHTTP2(u.Conn) {
		s.mu.Lock()
		s.speaks = h2NotSpoken
		s.mu.Unlock()
		s.pool.share(1)
		u.buffer(s.pool.readSize)
		return u
	}
	limits := http2.Limits{
		HeaderBytes: 2 * s.options().MaxResponseHeaderBytes, // the exchange checks the size in HTTP/1.1, which is smaller
		ConnWindow:  h2StreamsMax * h2WindowBytes, StreamWindow: h2WindowBytes,
	}
	now := s.now()
	l := &h2Link{
		upstreamConn: u, links: s, m: http2.NewClient(limits), open: make(map[*h2Call]struct{}), most: h2StreamsMax, begun: now, heard: now,
		idleSince: now, pause: s.pause,
	}
	l.flushTask = l.flush
	call := l.place(u.driver, client)
	s.mu.Lock()
	first := s.speaks != h2Spoken
	s.speaks = h2Spoken
	s.list = append(s.list, l)
	l.retired = s.closed
	s.mu.Unlock()
	if first {
		s.pool.share(h2StreamsMax)
	}
	u.driver.run(l.serve)
	return s.pool.connOf(call, false)
}

// settled is called when the server has announced how many streams it allows.
func (s *h2Links) settled(streams int) {
	s.pool.share(streams)
	s.retry(nil)
}

// retry makes the requests that are waiting for a place try again or, if err is not nil, fail.
func (s *h2Links) retry(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.waiting {
		w.err = err
		w.ready.Set()
	}
	s.waiting = nil
}

// forget removes a request that is no longer waiting.
func (s *h2Links) forget(w *h2Waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.DeleteFunc(s.waiting, func(other *h2Waiter) bool { return other == w })
}

// remove forgets a connection that has ended.
func (s *h2Links) remove(l *h2Link) {
	s.pool.sweeper.remove(&l.limits)
	s.mu.Lock()
	s.list = slices.DeleteFunc(s.list, func(other *h2Link) bool { return other == l })
	s.mu.Unlock()
	s.retry(nil)
}

// tick is called on every tick of the sweeper.
func (s *h2Links) tick(idleFor time.Duration) {
	for _, l := range s.all() {
		l.tick(idleFor)
	}
}

// retire prevents further requests on the connections for which the function returns true.
func (s *h2Links) retire(which func(*upstreamConn) bool) {
	for _, l := range s.all() {
		if which(l.upstreamConn) {
			l.retire()
		}
	}
}

// close retires all connections, including those that are still being opened.
func (s *h2Links) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
}

func (s *h2Links) all() []*h2Link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// resize changes the maximum number of connections.
func (s *h2Links) resize(max int) {
	s.mu.Lock()
	s.max = max
	s.mu.Unlock()
	s.retry(nil)
}

// counts returns how many connections, connections without calls, and calls there are.
func (s *h2Links) counts() (conns, idle, calls int) {
	for _, l := range s.all() {
		l.mu.Lock()
		n, closing := len(l.open), l.shut
		l.mu.Unlock()
		if calls += n; closing && n == 0 {
			continue
		}
		if conns++; n == 0 {
			idle++
		}
	}
	return conns, idle, calls
}

// negotiatedHTTP2 reports whether HTTP/2 was chosen during the TLS handshake.
func negotiatedHTTP2(conn net.Conn) bool {
	c, ok := conn.(*tlsConn)
	return ok && c.ConnectionState().NegotiatedProtocol == "h2"
}
