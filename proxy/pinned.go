package proxy

// Upstream connections that belong to one client.
//
// NTLM, Negotiate (Kerberos) and CredSSP authenticate a connection, not a request: after the handshake the service attributes every
// request on the connection to that user. So such an upstream connection must never carry another client's request. If a response
// asks for such credentials, its connection is pinned to the client's connection until either closes, so that the handshake can
// continue. If only the request carried them, the upstream connection is closed after the response.

// pinUpstream keeps a connection to a server for the client's next request. The pool continues to count it.
func (c *clientConn) pinUpstream(u *upstreamConn, to *server) {
	u.pinned, u.reused = true, true
	u.idleAt = c.gen.sweeper.now.Load()
	c.pinnedTo = to
	c.pinned.Store(u)
	if phase(c.phase.Load()) == phaseClosed {
		c.dropPinned()
	}
}

// takePinned returns the pinned connection, and its server, if it is one of the group's and still usable. Otherwise it returns nil.
func (c *clientConn) takePinned(of *group) (*upstreamConn, *server) {
	u := c.pinned.Swap(nil)
	if u == nil {
		return nil, nil
	}
	s := c.pinnedTo
	if !of.has(s) || u.br.Buffered() > 0 || s.pool.addrs.stale(u) || !s.pool.usable(u) {
		s.pool.discard(u)
		return nil, nil
	}
	return u, s
}

// dropPinned closes the pinned connection.
func (c *clientConn) dropPinned() {
	if u := c.pinned.Swap(nil); u != nil {
		c.pinnedTo.pool.discard(u)
	}
}
