package proxy

import (
	"sync/atomic"

	"github.com/wayside-proxy/wayside/proxy/upstream"
)

// serverState holds the counters of a server of a group, and whether it can be used. It outlives the pools that connect to the server.
type serverState struct {
	tally
	health       upstreamHealth  // for the log: whether requests fail
	availability upstream.Health // guarded by the group's mu: whether it receives requests
	changes      changeLog       // guarded by the group's mu: of availability
	consecutive  atomic.Int32    // requests that have failed one after the other
	inFlight     counter         // requests, counted only in groups with several servers
	retried      counter         // requests that have failed here and were sent to another server
	ejections    counter
	checksPassed counter
	checksFailed counter

	connects      counter
	connectErrors counter
	firstByte     [len(firstByteBounds) + 1]counter // one per bound, not cumulative
	firstByteSum  counter                           // microseconds
}

// firstByteBounds are the upper bounds of the histogram of times to the first byte, in microseconds.
var firstByteBounds = [...]uint64{100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000}

// observe counts the time to a response's first byte.
func (u *serverState) observe(micros uint64) {
	i := 0
	for i < len(firstByteBounds) && micros > firstByteBounds[i] {
		i++
	}
	u.firstByte[i].Add(1)
	u.firstByteSum.Add(int64(micros))
}

// stateKey names a server: by its group, and as in events.
type stateKey struct{ group, server string }

// stateOf returns the state of a server. It creates it if necessary.
func (p *Proxy) stateOf(group, server string) *serverState {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := stateKey{group, server}
	u := p.servers[key]
	if u == nil {
		u = &serverState{}
		p.servers[key] = u
	}
	return u
}
