package proxy

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
)

// This file chooses the server for a request. Nothing here takes a lock or allocates.

// assignment is the server to which a request is given, together with the history: which servers had the request before, and why the last
// one failed. At most one server has the request at a time. That server counts it as in progress until leave is called or another server
// gets the request.
type assignment struct {
	group    *group
	server   *server                 // the chosen server in the group; nil if none has been chosen
	tried    [RetriesMax + 1]*server // the servers to which the request was given; only the first tries elements are used
	tries    int
	attempts uint8   // number of attempts to send the request, including those for which no connection could be made
	counted  *server // the server that counts the request as in progress; nil if none does
	cookie   []byte  // the response field that keeps the client on the server; nil if there is none
	cause    error   // why the server failed, for the log; may be nil
}

// first gives the request to its first server. If an upstream connection is pinned to the client, the request goes to the server of that
// connection, and first returns the connection. Otherwise it goes to a server in the group.
func (a *assignment) first(r *request) (*upstreamConn, failure) {
	m := a.group.members.Load()
	u, s := r.c.pinned.take(a.group)
	if u == nil {
		s = a.choose(r, m)
	}
	if s == nil {
		return nil, failNoHealthy
	}
	if m.several {
		a.group.budget.Request()
	}
	a.take(r, s, m)
	return u, failNone
}

// another gives the request to another server after a failure. It returns a failure if there is no other server, or if the request must
// not be sent again.
func (a *assignment) another(r *request, f failure) failure {
	m := a.group.members.Load()
	if a.tries > m.o.Retries {
		return f
	}
	s := a.choose(r, m)
	if s == nil {
		return f
	}
	if !a.group.budget.Retry() {
		a.noteHealth(r, f)
		a.cause = fmt.Errorf("%w (not sent to another server: a fifth of the requests have already been retried)", a.cause)
		return failRetryBudget
	}
	a.noteHealth(r, f)
	a.server.retried.Add(1)
	r.c.gen.metrics.retries.Add(1)
	a.take(r, s, m)
	a.cause = nil
	return failNone
}

// choose returns a server in the group: the one that the client's cookie names or, otherwise, one that Group.Balance selects from
// those that have not been tried for this request. It returns nil if there is none.
func (a *assignment) choose(r *request, m *members) *server {
	tried := a.tried[:a.tries]
	if m.byToken != nil && len(tried) == 0 {
		if s := m.byToken[string(cookieValue(r.Value("cookie"), m.o.StickyCookie))]; s != nil {
			return s
		}
	}
	if len(m.usable) == 0 {
		return nil
	}
	at := 0
	switch {
	case len(m.usable) == 1:
	case m.o.Balance == Least:
		at = m.leastOfTwo()
	case len(tried) > 0: // a retry does not take a turn
		at = m.turn(a.group.turn.Load())
	default:
		at = m.turn(a.group.turn.Add(1) - 1)
	}
	for range m.usable {
		if s := m.usable[at].server; !slices.Contains(tried, s) {
			return s
		}
		at = (at + 1) % len(m.usable)
	}
	for _, s := range m.ejected { // may have recovered, and no other server is left
		if s.weight > 0 && !slices.Contains(tried, s.server) {
			return s.server
		}
	}
	return nil
}

// turn returns the index of the server whose turn it is.
func (m *members) turn(n int64) int { return int(m.order[uint64(n)%uint64(len(m.order))]) }

// leastOfTwo draws two servers at random, in proportion to their weights, and returns the one with fewer requests in progress relative to
// its weight. If both are equally busy, it returns the one that was drawn first, so that the weights apply even when there is little
// traffic.
func (m *members) leastOfTwo() int {
	draw := func() int { return int(m.order[rand.IntN(len(m.order))]) }
	a, b := draw(), draw()
	for range 3 {
		if a != b {
			break
		}
		b = draw()
	}
	if a == b {
		b = (a + 1) % len(m.usable)
	}
	one, two := &m.usable[a], &m.usable[b]
	if two.inFlight.Load()*int64(one.weight) < one.inFlight.Load()*int64(two.weight) {
		return b
	}
	return a
}

// take makes s the server for the request.
func (a *assignment) take(r *request, s *server, m *members) {
	a.leave()
	a.server = s
	if a.tries < len(a.tried) {
		a.tried[a.tries] = s
		a.tries++
	}
	if m.several {
		s.inFlight.Add(1)
		a.counted = s
	}
	a.cookie = nil
	if m.byToken != nil && string(cookieValue(r.Value("cookie"), m.o.StickyCookie)) != s.token {
		a.cookie = s.cookie
	}
}

// leave stops counting the request as in progress at its server.
func (a *assignment) leave() {
	if a.counted != nil {
		a.counted.inFlight.Add(-1)
		a.counted = nil
	}
}

// noteHealth updates the server's health after a response or a failure.
func (a *assignment) noteHealth(r *request, f failure) {
	s := a.server
	switch {
	case isUpstreamFailure(f):
		a.group.failed(s, s.health.failed(f, a.cause, r.id()))
	case f == failNone:
		if s.health.failing.Load() {
			s.health.succeeded()
		}
		if s.consecutive.Load() != 0 {
			s.consecutive.Store(0)
		}
		if a.tries > 1 {
			a.group.answered(s)
		}
	}
}

// appendCookie appends the field that keeps the client on the server that responded, unless the client already has that cookie.
func (a *assignment) appendCookie(dst []byte, r *request) []byte {
	if a.cookie == nil {
		return dst
	}
	dst = append(dst, a.cookie...)
	if r.secure() {
		dst = append(dst, "; Secure"...)
	}
	return append(dst, "\r\n"...)
}

// stickyToken returns the value of the cookie that keeps a client on a server. Without the key, a client can neither forge such a value
// nor learn a server's address from one.
func stickyToken(key []byte, group, server string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(group + "\x00" + server))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// cookieValue returns the value of a cookie in a Cookie field (RFC 6265, section 4.2.1), or nil if it is not there.
func cookieValue(field []byte, name string) []byte {
	for len(field) > 0 {
		var pair []byte
		pair, field, _ = bytes.Cut(field, []byte(";"))
		pair = bytes.TrimLeft(pair, " ")
		if len(pair) > len(name) && pair[len(name)] == '=' && string(pair[:len(name)]) == name {
			return bytes.TrimRight(pair[len(name)+1:], " ")
		}
	}
	return nil
}
