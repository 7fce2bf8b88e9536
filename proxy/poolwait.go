package proxy

import (
	"slices"
	"time"
)

// This file contains the queue of requests that are waiting for a connection of a pool.

// waiter is a request that is waiting for a connection.
type waiter struct {
	ready  signal
	u      *upstreamConn // written before ready is set: a connection, or nil for a free slot
	d      driver        // the driver that runs the request
	from   *account
	client *clientConn // the client, which may disconnect; may be nil
}

// askForRoom requests that connections be closed to make room for a waiting request.
func (p *pool) askForRoom(from *account) {
	p.mu.Lock()
	if p.open-p.idleCount >= p.max {
		from = nil // the limit for all connections has been reached, not the one for this address
	}
	p.mu.Unlock()
	if p.giveWay != nil {
		p.giveWay(from)
	}
}

// handOver gives free connections and slots to waiting requests. The caller must hold mu.
func (p *pool) handOver() {
	for i := 0; i < len(p.waiters) && p.open-p.idleCount < p.max; {
		w := p.waiters[i]
		if !p.may(w.from) {
			i++
			continue
		}
		p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
		w.u = p.grant(w.d, w.from)
		w.ready.Set()
	}
}

// roomRetry is how often a waiting request calls askForRoom again.
const roomRetry = 100 * time.Millisecond

// waitFor waits for a connection or a slot from put or release.
func (p *pool) waitFor(w *waiter) (*upstreamConn, error) {
	err, suspected := p.busy, false
	for began := time.Now(); ; {
		left := p.wait - time.Since(began)
		if left <= 0 {
			break
		}
		p.askForRoom(w.from)
		ready := w.ready.Wait(min(left, roomRetry))
		if w.client != nil && w.client.watch.leaves(&suspected) {
			err = errClientLeft
			break
		}
		if ready {
			return p.accept(w.u, w.d, w.from, w.client)
		}
	}
	p.mu.Lock()
	i := slices.Index(p.waiters, w)
	if i >= 0 {
		p.waiters = slices.Delete(p.waiters, i, i+1)
	}
	p.mu.Unlock()
	if i >= 0 {
		return nil, err
	}
	w.ready.Wait(-1) // a connection has just been handed over
	switch {
	case err != errClientLeft:
		return p.accept(w.u, w.d, w.from, w.client)
	case w.u != nil:
		p.put(w.u)
	default:
		p.release(w.from)
	}
	return nil, err
}
