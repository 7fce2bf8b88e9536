package proxy

// Upstream connections that belong to one client.
//
// NTLM, Negotiate (Kerberos) and CredSSP authenticate a connection, not a request: after the handshake the service attributes every
// request on the connection to that user. So such an upstream connection must never carry another client's request. If a response
// asks for such credentials, its connection is pinned to the client's connection until either closes, so that the handshake can
// continue. If only the request carried them, the upstream connection is closed after the response.

// pinUpstream keeps an upstream connection for the client's next request. The pool continues to count it.
func (c *clientConn) pinUpstream(u *upstreamConn) {
	u.pinned, u.reused = true, true
	u.idleAt = c.gen.sweeper.now.Load()
	c.pinnedPool = c.gen.pool
	c.pinned.Store(u)
	if phase(c.phase.Load()) == phaseClosed {
		c.dropPinned()
	}
}

// takePinned returns the pinned connection if it is still usable, or nil.
func (c *clientConn) takePinned() *upstreamConn {
	u := c.pinned.Swap(nil)
	if u == nil {
		return nil
	}
	if pool := c.pinnedPool; pool != c.gen.pool || u.br.Buffered() > 0 || pool.addrs.stale(u) || !pool.usable(u) {
		pool.discard(u)
		return nil
	}
	return u
}

// dropPinned closes the pinned connection.
func (c *clientConn) dropPinned() {
	if u := c.pinned.Swap(nil); u != nil {
		c.pinnedPool.discard(u)
	}
}
