package proxy

import (
	"bytes"
	"slices"
)

// Upstream connections that belong to one client.
//
// NTLM, Negotiate (Kerberos) and CredSSP authenticate a connection, not a request: after the handshake the service attributes every
// request on the connection to that user. So such an upstream connection must never carry another client's request. If a response
// asks for such credentials, its connection is pinned to the client's connection until either closes, so that the handshake can
// continue. If only the request carried them, the upstream connection is closed after the response.

var connectionSchemes = []string{"ntlm", "negotiate", "kerberos", "credssp"}

// authenticatesConnection reports whether a list of challenges or credentials names a scheme that authenticates the connection.
func authenticatesConnection(value []byte) bool {
	for len(value) > 0 {
		var member []byte
		member, value, _ = bytes.Cut(value, []byte{','})
		scheme := trimOWS(member)
		if i := bytes.IndexAny(scheme, " \t"); i >= 0 {
			scheme = scheme[:i]
		}
		if slices.ContainsFunc(connectionSchemes, func(s string) bool { return foldEqual(scheme, s) }) {
			return true
		}
	}
	return false
}

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
