package proxy

import "sync/atomic"

// This file keeps upstream connections that belong to one client.
//
// NTLM, Negotiate (Kerberos) and CredSSP authenticate a connection instead of a request: after the handshake, the service attributes every
// request on the connection to that user. So such an upstream connection must never carry another client's request. If a response asks for
// such credentials, its connection is pinned to the client's connection until either is closed, so that the handshake can continue. If only the
// request contained such credentials, the upstream connection is closed after the response.

// pinned is the upstream connection that is reserved for a client between its requests. The pool continues to count it. Only the
// goroutine or task that serves the client's connection may call its methods, except drop, which any goroutine may call.
type pinned struct {
	u  atomic.Pointer[upstreamConn] // nil if there is none
	to *server                      // the server of u; written before u
}

// put keeps a connection to a server for the client's next request. now is the current time according to the sweeper's
// clock.
func (p *pinned) put(u *upstreamConn, to *server, now int64) {
	u.pinned, u.reused = true, true
	u.idleAt = now
	p.to = to
	p.u.Store(u)
}

// take returns the connection and its server, if the server belongs to the group and the connection is still usable. Otherwise it returns nil.
func (p *pinned) take(of *group) (*upstreamConn, *server) {
	u := p.u.Swap(nil)
	if u == nil {
		return nil, nil
	}
	s := p.to
	if !of.has(s) || u.br.Buffered() > 0 || s.pool.addrs.stale(u) || !s.pool.usable(u) {
		s.pool.discard(u)
		return nil, nil
	}
	return u, s
}

// drop closes the connection.
func (p *pinned) drop() {
	if u := p.u.Swap(nil); u != nil {
		p.to.pool.discard(u)
	}
}
