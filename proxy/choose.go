package proxy

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"slices"
)

// Choosing the server of a request. Nothing here takes a lock or allocates.

// choose chooses a server of the group: that of the client's cookie or, by Group.Balance, one that has not been tried for this request. nil:
// there is none.
func (x *exchange) choose(m *members) *server {
	tried := x.tried[:x.tries]
	if m.byToken != nil && len(tried) == 0 {
		if s := m.byToken[string(cookieValue(x.head.Value("cookie"), m.o.StickyCookie))]; s != nil {
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
	case len(tried) > 0: // takes no turn
		at = m.turn(x.group.turn.Load())
	default:
		at = m.turn(x.group.turn.Add(1) - 1)
	}
	for range m.usable {
		if s := m.usable[at].server; !slices.Contains(tried, s) {
			return s
		}
		at = (at + 1) % len(m.usable)
	}
	return nil
}

// turn returns the server whose turn it is.
func (m *members) turn(n int64) int { return int(m.order[uint64(n)%uint64(len(m.order))]) }

// leastOfTwo draws two servers, by their weights, and returns the one with fewer requests in flight in relation to its weight.
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
	if (two.inFlight.Load()+1)*int64(one.weight) < (one.inFlight.Load()+1)*int64(two.weight) {
		return b
	}
	return a
}

// take makes s the server of the request.
func (x *exchange) take(s *server, m *members) {
	x.leave()
	x.server, x.ev.Upstream = s, s.name
	if x.tries < len(x.tried) {
		x.tried[x.tries] = s
		x.tries++
	}
	if m.several {
		s.inFlight.Add(1)
		x.counted = s
	}
	x.cookie = nil
	if m.byToken != nil && string(cookieValue(x.head.Value("cookie"), m.o.StickyCookie)) != s.token {
		x.cookie = s.cookie
	}
}

// leave ends the request's count at its server.
func (x *exchange) leave() {
	if x.counted != nil {
		x.counted.inFlight.Add(-1)
		x.counted = nil
	}
}

// stickyToken returns the value of the cookie that keeps a client at a server. Without the key, nobody can make one, or learn an address
// from it.
func stickyToken(key []byte, group, server string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(group + "\x00" + server))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// cookieValue returns the value of a cookie in a Cookie field (RFC 6265, section 4.2.1), or nil.
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

// appendCookie appends the field that keeps the client at the server of the response, if it does not have it yet.
func (x *exchange) appendCookie(dst []byte) []byte {
	if x.cookie == nil {
		return dst
	}
	dst = append(dst, x.cookie...)
	if x.secure() {
		dst = append(dst, "; Secure"...)
	}
	return append(dst, "\r\n"...)
}

// secure reports whether the client's connection is encrypted: the one to this proxy, or the one to the trusted proxy in front of it.
func (x *exchange) secure() bool {
	peer := &x.c.peer
	return bytes.HasPrefix(peer.Forwarded, []byte("X-Forwarded-Proto: https\r\n")) ||
		peer.Trusted && string(x.head.Value("x-forwarded-proto")) == "https"
}
