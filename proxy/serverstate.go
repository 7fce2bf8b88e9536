package proxy

import (
	"slices"
	"sync/atomic"

	"github.com/wayside-proxy/wayside/proxy/upstream"
)

// serverState contains the counters of a server in a group, and whether the server can be used. It outlives the pools that connect to the
// server.
type serverState struct {
	tally
	health       upstreamHealth  // whether requests are failing, for the log
	availability upstream.Health // guarded by the group's mu: whether the server receives requests
	changes      changeLog       // guarded by the group's mu: log lines about changes of availability
	consecutive  atomic.Int32    // number of consecutive failed requests
	inFlight     counter         // requests in progress, counted only in groups with several servers
	retried      counter         // requests that failed here and were sent to another server
	ejections    counter
	checksPassed counter
	checksFailed counter

	connects      counter
	connectErrors counter
	firstByte     [len(firstByteBounds) + 1]counter // one counter per bound, not cumulative
	firstByteSum  counter                           // sum of the times in microseconds
}

// firstByteBounds are the upper bounds, in microseconds, of the buckets in the histogram of times to the first byte.
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

// stateKey identifies a server by its group and by its name in events.
type stateKey struct{ group, server string }

const (
	// goneMax is the number of servers that keep separate counters although they are no longer used. There must be a limit, because the addresses
	// of a name may keep changing.
	goneMax = 256
	// otherServers is the name under which the counters of all further servers that are no longer used are added up, for each group.
	otherServers = "(other)"
)

// stateOf returns the state of a server. If there is none, it creates one.
func (p *Proxy) stateOf(group, server string) *serverState {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := stateKey{group, server}
	p.gone = slices.DeleteFunc(p.gone, func(k stateKey) bool { return k == key })
	return p.stateOfLocked(key)
}

func (p *Proxy) stateOfLocked(key stateKey) *serverState {
	u := p.servers[key]
	if u == nil {
		u = &serverState{}
		p.servers[key] = u
	}
	return u
}

// retire keeps a server that is no longer used, so that the metrics still include it: its connections until the last one has been closed
// and, if gone is set, its counters until there are too many such servers. If gone is not set, another pool continues with the counters.
func (p *Proxy) retire(group string, old *server, gone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = slices.DeleteFunc(append(p.retired, old), func(r *server) bool {
		open, _ := r.pool.counts()
		return open == 0
	})
	if !gone {
		return
	}
	key := stateKey{group, string(old.name)}
	p.gone = append(slices.DeleteFunc(p.gone, func(k stateKey) bool { return k == key }), key)
	for i := 0; i < len(p.gone) && len(p.gone) > goneMax; {
		key := p.gone[i]
		state := p.servers[key]
		if slices.ContainsFunc(p.retired, func(r *server) bool { return r.serverState == state }) {
			i++ // a request may still be counting there
			continue
		}
		p.stateOfLocked(stateKey{key.group, otherServers}).absorb(state)
		delete(p.servers, key)
		p.gone = slices.Delete(p.gone, i, i+1)
	}
}

// absorb adds the counters of another server.
func (u *serverState) absorb(other *serverState) {
	add := func(to, from *counter) { to.Add(from.Load()) }
	for i := range u.classes {
		add(&u.classes[i], &other.classes[i])
	}
	for i := range u.failed {
		add(&u.failed[i], &other.failed[i])
	}
	for i := range u.firstByte {
		add(&u.firstByte[i], &other.firstByte[i])
	}
	for _, c := range [][2]*counter{
		{&u.connects, &other.connects},
		{&u.connectErrors, &other.connectErrors},
		{&u.firstByteSum, &other.firstByteSum},
		{&u.retried, &other.retried},
		{&u.ejections, &other.ejections},
		{&u.checksPassed, &other.checksPassed},
		{&u.checksFailed, &other.checksFailed},
	} {
		add(c[0], c[1])
	}
}
