package proxy

import (
	"cmp"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// The limits in this file protect the proxy, and protect clients from each other. All clients share three resources: client connections,
// upstream connections, and the memory for unfinished headers and buffered bodies. The same rule divides each of them: an eighth is
// reserved for addresses with low usage; of the rest, an address may use at most twice as much as it leaves free. So a single address
// can get at most 58 %, eight addresses get 10 % each, and something is always left for the next one. If there is no room, the proxy
// closes the connections for whose clients it has waited longest. If the address that needs room already has high usage, the proxy
// closes only connections of that address, otherwise those of any address.
//
// limits.go counts usage and applies the rule. displace.go chooses the connections that are closed to make room for a new one. waiting.go
// keeps new connections for which there is no room yet.

const (
	// headBytesFree is how many bytes each connection may buffer before they count: enough for most headers.
	headBytesFree = clientReadBytes
	// giveWayAfter is how long the proxy must have waited for a client before it may close the client's connection to make room. The time
	// that the client's bytes would take at slowBytesPerSecond does not count.
	giveWayAfter       = int64(time.Second)
	slowBytesPerSecond = 4 << 10
	// giveWayAtOnce and giveWayPause limit the work of searching for connections that can be closed.
	giveWayAtOnce = 8
	giveWayPause  = 10 * time.Millisecond
	// firstByteWithin is the time after which a connection whose first header is incomplete can be displaced.
	firstByteWithin = 100 * time.Millisecond
	// An address with less than 1/smallShare of all connections may displace connections of other addresses. Searching for these may take
	// at most 1/lookShare of the time. On a busy machine, the measured time of a search includes time in which the search did not run,
	// hence lookPauseMax.
	smallShare, lookShare = 16, 20
	lookPauseMax          = 5 * giveWayPause
	// At most 1/tunnelShare of all connections may be upgraded, because an upgraded connection may be silent for a long time and does not give
	// way.
	tunnelShare = 2
	// warnPause is the shortest time between two log lines about limits.
	warnPause = 10 * time.Second
)

// account counts the resources that the clients at one address use. An IPv6 /64 counts as one address.
type account struct {
	conns    int          // guarded by Proxy.mu
	silent   int          // guarded by Proxy.mu; at the last search, connections without a response, or in a wait for the client
	streams  int          // guarded by Proxy.mu; number of HTTP/2 streams
	live     int          // guarded by Proxy.mu; at the last search, all other connections except upgraded ones
	upstream atomic.Int64 // connections to the only server; see pool.byAccount; changed under the pool's lock
	held     atomic.Int64 // bytes of counted buffers

	silentUploads atomic.Int64
}

// mayUse implements the rule: it reports whether an address may use more of a shared resource. uses is how much the address already
// uses, and more is the additional amount. total is how much all addresses use together.
func mayUse(uses, more, total, limit int64) bool {
	free := limit - total
	return more <= free && (uses+more <= smallUse(limit) || uses+more <= 2*(free-limit/8))
}

// smallUse returns how much any address may use as long as something is free.
func smallUse(limit int64) int64 { return limit / 128 }

// admission decides for which connections there is room, and which ones are closed to make room. Proxy.mu guards its fields, except p.
type admission struct {
	p            *Proxy
	conns        int                    // number of admitted, open connections
	waiting      []waitingConn          // see waiting.go
	rejecting    int                    // number of connections that are being refused with a response
	refused      map[netip.Addr]failure // addresses for which there is no room in this pass of admitWaiting
	accounts     map[netip.Addr]*account
	searchedAt   time.Time     // when giveWay last searched
	listedAt     time.Time     // when displaceable was computed
	listingTook  time.Duration // how long that took
	displaceable []candidate   // the connections to displace next, in this order
	displacing   int           // number of displaced connections that have not been closed yet
	toClose      []*clientConn // closed by unlockAndClose
	warnedAt     time.Time     // when the last line was logged
}

// admit counts a new connection, or returns the reason to refuse it.
func (a *admission) admit(c *clientConn) failure {
	p := a.p
	p.mu.Lock()
	defer a.unlockAndClose()
	return a.admitLocked(c)
}

func (a *admission) admitLocked(c *clientConn) failure {
	o := &c.gen.o
	c.share.key = limitKey(c.addr)
	if c.headerDue { // this is the address of a balancer; readmit counts the client's address later
		c.share.key = netip.Addr{}
	}
	used := a.accounts[c.share.key]
	if used == nil {
		used = &account{}
	}
	alone := c.share.key.IsValid() && !c.share.trusted
	switch {
	case alone && o.MaxConnsPerAddress > 0 && used.conns >= o.MaxConnsPerAddress:
		return failAddressConns
	case o.MaxConns > 0 && a.conns >= o.MaxConns:
		if !a.displace(used, o.MaxConns) {
			return failConns
		}
	case alone && o.MaxConns > 0 && used.conns >= o.MaxConns/smallShare/2 && !mayUse(int64(used.conns), 1, int64(a.conns), int64(o.MaxConns)):
		if !a.displace(used, o.MaxConns) {
			return failAddressConns
		}
	}
	if c.share.key.IsValid() {
		if a.accounts == nil {
			a.accounts = make(map[netip.Addr]*account)
		}
		a.accounts[c.share.key] = used
		used.conns++
		c.share.account = used
	}
	a.conns++
	c.share.admitted = true
	return failNone
}

// admitStream counts a new HTTP/2 stream, or returns the reason to refuse it. A stream costs as much as a connection, so there may be as many streams
// as connections, and addresses share them by the same rule.
func (a *admission) admitStream(c *clientConn) failure {
	p := a.p
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
	limit := c.gen.o.MaxConns
	switch {
	case limit <= 0:
	case p.h2streams >= limit:
		return failConns
	case c.share.limits() != nil && !mayUse(int64(c.share.account.streams), 1, int64(p.h2streams), int64(limit)):
		return failAddressConns
	}
	c.stream.counted = true
	p.h2streams++
	if c.share.account != nil {
		c.share.account.streams++
	}
	return failNone
}

// removeStream stops counting a stream. The caller must hold Proxy.mu.
func (a *admission) removeStream(c *clientConn) {
	p := a.p
	if !c.stream.counted {
		return
	}
	c.stream.counted = false
	p.h2streams--
	if used := c.share.account; used != nil {
		used.streams--
		a.forgetUnused(c.share.key, used)
	}
}

// forgetUnused removes an account without connections and streams. The caller must hold Proxy.mu.
func (a *admission) forgetUnused(key netip.Addr, used *account) {
	if used.conns == 0 && used.streams == 0 && a.accounts[key] == used {
		delete(a.accounts, key)
	}
}

// limitKey returns the address under which connections are counted: an IPv6 /64 counts as one client.
func limitKey(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		if prefix, err := addr.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return addr
}

// remove stops counting an admitted connection. The caller must hold Proxy.mu. The resources that its exchange still uses remain counted
// in the account, even if the account is no longer in the map. Tunnels of an HTTP/2 connection can outlive it, so their account remains
// in the map.
func (a *admission) remove(c *clientConn) {
	if !c.share.admitted {
		return
	}
	c.share.admitted = false
	a.conns--
	if c.share.account == nil {
		return
	}
	c.share.account.conns--
	a.forgetUnused(c.share.key, c.share.account)
}

// giveWay closes the connections for whose clients the proxy has waited longest: those of one address or, if of is nil, of all addresses.
// If upstream is set, it closes only those that may be using an upstream connection.
func (a *admission) giveWay(of *account, upstream bool) {
	p := a.p
	p.mu.Lock()
	defer a.unlockAndClose()
	a.giveWayLocked(of, upstream)
}

// giveWayLocked is like giveWay, but the caller must hold Proxy.mu. It reports whether there were any such connections, now or
// within giveWayPause.
func (a *admission) giveWayLocked(of *account, upstream bool) bool {
	p := a.p
	now := p.sweeper.now.Load()
	if time.Since(a.searchedAt) < giveWayPause {
		return true
	}
	a.searchedAt = time.Now()
	var all []candidate
	for c := range p.conns {
		ph := phase(c.phase.Load())
		switch {
		case of != nil && c.share.account != of, !c.share.admitted && c.stream == nil, ph == phaseTunnel:
			continue
		case upstream && ph != phaseBody && c.pinned.u.Load() == nil:
			continue
		}
		if waited := c.waitTime(now); waited >= giveWayAfter {
			d := candidate{c: c, waited: waited}
			if c.share.account != nil {
				d.rank = c.share.account.conns
			}
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(b.waited, a.waited)) })
	for _, d := range all[:min(len(all), giveWayAtOnce)] {
		a.markForClose(d.c)
	}
	return len(all) > 0
}

// warn logs that clients are refused, at most once per warnPause.
func (c *clientConn) warn(f failure) {
	p := c.root
	p.mu.Lock()
	due := p.admission.warnedAt.IsZero() || time.Since(p.admission.warnedAt) >= warnPause
	if due {
		p.admission.warnedAt = time.Now()
	}
	p.mu.Unlock()
	if due {
		c.gen.o.Logger.Warn("refused a request to protect other clients; wayside_proxy_failures_total counts refusals by reason", "reason", f.String(), "client", string(c.client))
	}
}

// holdUpTo is like share.hold, but takes the total size of the buffers, of which headBytesFree bytes do not count.
func (c *clientConn) holdUpTo(size int) bool {
	if c.share.hold(int64(size) - headBytesFree - c.share.held) {
		return true
	}
	c.root.admission.giveWay(c.share.limits(), false)
	c.warn(failMemory)
	return false
}

// clientWait measures how long the proxy has waited for a client in one direction, since the beginning of the current request or the end of the
// previous one.
type clientWait struct {
	began  atomic.Int64 // sweeper time at which the current wait began; 0 if there is none; or suspended
	waited atomic.Int64 // nanoseconds of earlier waits, minus the time that the bytes received would take at slowBytesPerSecond
}

// suspended marks a wait that does not count yet.
const suspended = -1

func (w *clientWait) begin(now int64) { w.began.Store(now) }

func (w *clientWait) suspend() { w.began.Store(suspended) }

// resume starts counting a suspended wait.
func (w *clientWait) resume(now int64) { w.began.CompareAndSwap(suspended, now) }

func (w *clientWait) end(now int64, n int) {
	was, began := w.waited.Load(), w.began.Load()
	if began == suspended {
		began = now
	}
	if is := max(was+now-began-int64(n)*int64(time.Second)/slowBytesPerSecond, 0); is != was {
		w.waited.Store(is)
	}
	w.began.Store(0)
}

// clientWaits are the waits in both directions.
type clientWaits struct {
	reading clientWait // time spent waiting for the client to send
	writing clientWait // time spent waiting for the client to receive
}

// waitedFor reports whether the proxy is currently waiting for the client. Such a connection ends immediately when its deadlines are
// fired.
func (w *clientWaits) waitedFor() bool {
	return w.reading.began.Load() > 0 || w.writing.began.Load() > 0
}

// waitTime returns how long the proxy has waited for the client, in the direction in which it has waited longer.
func (w *clientWaits) waitTime(now int64) int64 {
	return max(w.reading.waitTime(now), w.writing.waitTime(now))
}

func (w *clientWait) waitTime(now int64) int64 {
	waited := w.waited.Load()
	if began := w.began.Load(); began > 0 {
		waited += now - began
	}
	return waited
}

// pace enforces MinBodyRate. Only the time spent waiting for the client counts.
type pace struct {
	waited int64 // nanoseconds spent waiting
	read   int64 // bytes received
}

// deadline returns the time by which more of the body must arrive, so that the average rate after grace is at least rateMin bytes per second.
func (b *pace) deadline(s *sweeper, rateMin, grace int64) int64 {
	allowed := grace + b.read*int64(1e9)/rateMin - b.waited
	return s.now.Load() + s.tick.Load() + max(allowed, 0)
}
