package proxy

import (
	"bytes"
	"slices"
)

// NTLM, Negotiate (Kerberos) and CredSSP authenticate a connection, not a request: after the handshake the service takes everything that
// comes over the connection for that user's. Such a connection to the upstream never carries another client's request. One whose
// response asked for such credentials stays with the client's connection until either closes, so that the handshake can be
// completed; one whose request only carried them is closed after the response.

var connectionSchemes = []string{"ntlm", "negotiate", "kerberos", "credssp"}

// speaksForConnection reports whether a list of challenges, or credentials, holds a scheme that authenticates the connection.
func speaksForConnection(value []byte) bool {
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

// keepLogin keeps an upstream connection for the client's next request. The pool goes on counting it.
func (c *clientConn) keepLogin(u *upstreamConn) {
	u.login, u.reused = true, true
	u.idleAt = c.p.sweeper.now.Load()
	c.loginPool = c.p.pool
	c.login.Store(u)
	if phase(c.phase.Load()) == phaseClosed {
		c.dropLogin()
	}
}

// takeLogin gives the connection that was kept, if it is still good, or nil.
func (c *clientConn) takeLogin() *upstreamConn {
	u := c.login.Swap(nil)
	if u == nil {
		return nil
	}
	if pool := c.loginPool; pool != c.p.pool || u.br.Buffered() > 0 || pool.names.stale(u) || !pool.usable(u) {
		pool.discard(u)
		return nil
	}
	return u
}

// dropLogin closes the connection that was kept.
func (c *clientConn) dropLogin() {
	if u := c.login.Swap(nil); u != nil {
		c.loginPool.discard(u)
	}
}
