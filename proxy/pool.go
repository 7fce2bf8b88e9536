package proxy

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// errPoolExhausted means that no upstream connection became free within Options.MaxConnWait.
var errPoolExhausted = errors.New("no free upstream connection")

// errUpstreamBusy is returned instead of errPoolExhausted if Group.ConnsMax limits the connections.
var errUpstreamBusy = errors.New("no free connection to the server within upstreams.conns_max")

// errClientLeft means that a client disconnected while its request was waiting for an upstream connection.
var errClientLeft = errors.New("client left before its request was sent")

// pool manages the connections to one server. It has a stack of idle connections, a limit for all connections, and a queue of requests
// that are waiting for one. If the server speaks HTTP/2, each connection counts once for each request that it can carry at the same time
// (h2links.go).
type pool struct {
	target   *target
	drivers  []driver
	sweeper  *sweeper
	addrs    *upstreamAddrs
	figures  *serverState
	wait     time.Duration
	busy     error // the error if no connection becomes free: errPoolExhausted or errUpstreamBusy
	idleFor  time.Duration
	readSize int
	h2       *h2Links       // nil if HTTP/2 is never used with the server
	giveWay  func(*account) // closes connections of an address to make room, or of any address if its argument is nil; may itself be nil

	mu        sync.Mutex
	conns     int                // guarded by mu; maximum number of connections
	perConn   int                // guarded by mu; how many requests a connection can carry
	max       int                // guarded by mu; maximum of open: conns times perConn
	byAccount map[*account]int64 // guarded by mu; connections by address; nil if this is the only pool, so that account.upstream counts them
	idle      [][]*upstreamConn  // guarded by mu; by driver, with the most recently used last
	idleCount int                // guarded by mu; number of connections in idle
	open      int                // guarded by mu; idle, in use and being dialed
	waiters   []*waiter          // guarded by mu; in order of arrival
	dedicated int                // guarded by mu; number of open dedicated connections
	closed    bool               // guarded by mu; connections are closed when they are put back
}

// may reports whether a client at this address may use another connection. The caller must hold mu.
func (p *pool) may(from *account) bool {
	used := p.open - p.idleCount
	if from == nil {
		return used < p.max
	}
	uses := from.upstream.Load()
	if p.byAccount != nil {
		uses = p.byAccount[from]
	}
	return mayUse(uses, 1, int64(used), int64(p.max))
}

// charge adds n connections, or slots for them, to an address. The caller must hold mu.
func (p *pool) charge(from *account, n int64) {
	switch {
	case from == nil:
	case p.byAccount == nil:
		from.upstream.Add(n)
	case p.byAccount[from] == -n:
		delete(p.byAccount, from)
	default:
		p.byAccount[from] += n
	}
}

// get returns an idle connection or dials one. If all connections are in use, or as many as this address may use, it waits at most
// pool.wait, and only as long as the client stays connected. The client may be nil.
func (p *pool) get(d driver, from *account, client *clientConn) (*upstreamConn, error) {
	p.mu.Lock()
	if p.may(from) { // if so, no waiting request could use the connection; see handOver
		u := p.grant(d, from)
		p.mu.Unlock()
		if u != nil && p.usable(u) {
			u.atOnce = true
			return u, nil
		}
		return p.accept(u, d, from, client)
	}
	if p.wait <= 0 {
		p.mu.Unlock()
		return nil, p.busy
	}
	w := &waiter{ready: d.signal(), d: d, from: from, client: client}
	p.waiters = append(p.waiters, w)
	p.mu.Unlock()
	return p.waitFor(w)
}

// grant takes an idle connection of a driver, or counts a new one and returns nil. The caller must hold mu, and must have made sure that
// p.may returns true.
func (p *pool) grant(d driver, from *account) *upstreamConn {
	p.charge(from, 1)
	u := p.popIdle(d, from)
	switch {
	case u != nil:
	case p.open < p.max:
		p.open++
	default:
		p.closeOther(d) // so that the new connection can take its slot
	}
	return u
}

// popIdle takes the most recently used idle connection of a driver, or returns nil. The caller must hold mu.
func (p *pool) popIdle(d driver, from *account) *upstreamConn {
	idle := p.idle[d.index()]
	n := len(idle)
	if n == 0 {
		return nil
	}
	u := idle[n-1]
	idle[n-1] = nil
	p.idle[d.index()] = idle[:n-1]
	p.idleCount--
	u.from, u.atOnce = from, false
	return u
}

// closeOther closes an idle connection that belongs to a driver other than d. The caller must hold mu.
func (p *pool) closeOther(d driver) {
	for _, other := range p.drivers {
		if other == d {
			continue
		}
		if u := p.popIdle(other, nil); u != nil {
			p.sweeper.remove(&u.limits)
			_ = u.Conn.Close()
			return
		}
	}
}

// accept takes the result of grant: a connection, which may no longer be usable, or nil for a slot.
func (p *pool) accept(u *upstreamConn, d driver, from *account, client *clientConn) (*upstreamConn, error) {
	for u != nil && !p.usable(u) {
		p.sweeper.remove(&u.limits)
		_ = u.Conn.Close()
		p.mu.Lock() // keep the slot and try the next idle connection
		if u = p.popIdle(d, from); u != nil {
			p.open--
		}
		p.mu.Unlock()
	}
	if u != nil {
		return u, nil
	}
	return p.dialSlot(d, from, client)
}

// dialSlot dials a connection for a slot that is already counted. The client may be nil.
func (p *pool) dialSlot(d driver, from *account, client *clientConn) (*upstreamConn, error) {
	done := false
	defer func() {
		if !done {
			p.release(from)
		}
	}()
	u, err := p.connect(d, client)
	if done = err == nil; done {
		u.from = from
	}
	return u, err
}

// dialDedicated dials an HTTP/1.1 connection that never enters the pool. There are at most as many of these as client connections.
func (p *pool) dialDedicated(d driver) (*upstreamConn, error) {
	u, err := p.dial(d, p.target.plain)
	if err != nil {
		return nil, err
	}
	u.buffer(p.readSize)
	u.dedicated = true
	p.mu.Lock()
	p.dedicated++
	p.mu.Unlock()
	return u, nil
}

// put returns a connection to the pool after a complete response.
func (p *pool) put(u *upstreamConn) {
	if u.dedicated || u.call != nil || u.br.Buffered() > 0 || p.addrs.stale(u) {
		p.discard(u) // unexpected bytes would be mistaken for the response to the next request
		return
	}
	u.reused = true
	u.idleAt = p.sweeper.now.Load()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.discard(u)
		return
	}
	p.charge(u.from, -1)
	u.from = nil
	at := u.driver.index()
	p.idle[at] = append(p.idle[at], u)
	p.idleCount++
	p.handOver()
	p.mu.Unlock()
}

// discard closes a connection and frees its slot.
func (p *pool) discard(u *upstreamConn) {
	p.sweeper.remove(&u.limits)
	_ = u.Conn.Close()
	u.unbuffer()
	if u.dedicated {
		p.mu.Lock()
		p.dedicated--
		p.mu.Unlock()
		return
	}
	p.release(u.from)
}

// release frees a slot.
func (p *pool) release(from *account) {
	p.mu.Lock()
	p.charge(from, -1)
	p.open--
	p.handOver()
	p.mu.Unlock()
}

// evict closes connections that have been idle for too long. It is called on every tick.
func (p *pool) evict() {
	if p.h2 != nil {
		p.h2.tick(p.idleFor)
	}
	if p.idleFor <= 0 {
		return
	}
	oldest := p.sweeper.now.Load() - int64(p.idleFor)
	p.discardUnused(func(u *upstreamConn) bool { return u.idleAt < oldest })
}

// discardIdle closes the idle connections for which the function returns true. A shared connection among these carries no further
// requests.
func (p *pool) discardIdle(which func(*upstreamConn) bool) {
	p.discardUnused(which)
	if p.h2 != nil {
		p.h2.retire(which)
	}
}

// discardUnused closes the connections in the stack for which the function returns true.
func (p *pool) discardUnused(which func(*upstreamConn) bool) {
	var gone []*upstreamConn
	p.mu.Lock()
	for i := range p.idle {
		p.idle[i] = slices.DeleteFunc(p.idle[i], func(u *upstreamConn) bool {
			if !which(u) {
				return false
			}
			gone = append(gone, u)
			return true
		})
	}
	p.idleCount -= len(gone)
	p.mu.Unlock()
	for _, u := range gone {
		p.discard(u)
	}
}

// resize changes the maximum number of connections.
func (p *pool) resize(conns int) {
	p.mu.Lock()
	p.conns = conns
	p.limit()
	p.mu.Unlock()
	if p.h2 != nil {
		p.h2.resize(conns)
	}
}

// share changes how many requests a connection can carry.
func (p *pool) share(perConn int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.perConn = perConn
	p.limit()
}

// limit recomputes max, and hands free connections and slots to waiting requests. The caller must hold mu.
func (p *pool) limit() {
	p.max = p.conns * p.perConn
	p.handOver()
}

// close closes the idle connections. Those in use are closed when they are put back.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	if p.h2 != nil {
		p.h2.close()
	}
	p.discardIdle(func(*upstreamConn) bool { return true })
}

// counts returns the numbers of open and idle connections.
func (p *pool) counts() (open, idle int64) {
	open, idle, _, _ = p.usage()
	return open, idle
}

// usage returns the numbers of open and idle connections, the number of requests that are using a connection or waiting for one, and the
// limit.
func (p *pool) usage() (open, idle, inFlight, max int64) {
	var conns, unused, calls int
	if p.h2 != nil {
		conns, unused, calls = p.h2.counts()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.open + p.dedicated
	own := all - min(calls, all) // calls may have ended since they were counted
	open, idle = int64(own+conns), int64(p.idleCount+unused)
	return open, idle, int64(all - p.idleCount + len(p.waiters)), int64(p.conns)
}
