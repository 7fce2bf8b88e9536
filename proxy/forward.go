package proxy

import (
	"errors"
	"fmt"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// Reaching the server of a request, and giving its connection back. choose.go chooses the server.

// errNotSent means that no byte of the request has left the proxy.
var errNotSent = errors.New("the request was not sent")

// forward sends the request and reads the response's header. If it succeeds, x.up is the connection with the response's body. If it
// returns a failure, the connection is closed.
func (x *exchange) forward(streamed bool) failure {
	p := x.c.gen
	if x.upgrading && p.o.MaxConns > 0 && x.c.root.streams.count() >= p.o.MaxConns/tunnelShare {
		x.c.warn(failConns)
		return failConns
	}
	u, f := x.first()
	for f == failNone {
		var again bool
		if f, again = x.attempt(u, streamed); f == failNone {
			return failNone
		}
		if !again || f == failTotal || x.c.clientGone.Load() {
			return f
		}
		u, f = nil, x.another(f)
	}
	return f
}

// first chooses the server of the request: that of the connection that belongs to the client, which it returns, or one of the group.
func (x *exchange) first() (*upstreamConn, failure) {
	m := x.group.members.Load()
	u, s := x.c.takePinned(x.group)
	if u == nil {
		s = x.choose(m)
	}
	if s == nil {
		return nil, failNoHealthy
	}
	if m.several {
		x.group.budget.Request()
	}
	x.take(s, m)
	return u, failNone
}

// another chooses another server after a failure. If there is none, or the request may not be sent again, it returns a failure.
func (x *exchange) another(f failure) failure {
	m := x.group.members.Load()
	if x.tries > m.o.Retries {
		return f
	}
	s := x.choose(m)
	if s == nil {
		return f
	}
	if !x.group.budget.Retry() {
		x.noteHealth(f)
		x.cause = fmt.Errorf("%w (not sent to another server: retries are a fifth of the requests already)", x.cause)
		return failRetryBudget
	}
	x.noteHealth(f)
	x.server.retried.Add(1)
	x.c.gen.metrics.retries.Add(1)
	x.take(s, m)
	x.sentAt, x.cause, x.upBroken = time.Time{}, nil, false
	return failNone
}

// attempt sends the request to x.server and reads the response's header. u is the connection to use; nil: one of the pool. After a failure,
// again says whether the request may be sent to another server.
func (x *exchange) attempt(u *upstreamConn, streamed bool) (f failure, again bool) {
	var err error
	if u == nil {
		if u, err = x.connect(); err != nil {
			return x.notConnected(err)
		}
	}
	x.attempts++
	x.up = u
	x.c.awaitUpstream(u)
	err = x.roundTrip(u, streamed)
	if err != nil && u.reused && x.repeatable(err, streamed) && !isTimeout(err) && x.c.takeBack() {
		// An idle connection that the server closed in the meantime: it has not answered this request.
		x.c.gen.metrics.retries.Add(1)
		x.up, x.upBroken = nil, false
		if u, err = x.server.pool.redial(u); err != nil {
			x.sentAt = time.Time{}
			return x.notConnected(err)
		}
		x.attempts++
		x.up = u
		x.c.awaitUpstream(u)
		err = x.roundTrip(u, streamed)
	}
	if err == nil {
		x.headAt = time.Now()
		return failNone, false
	}
	again = x.repeatable(err, streamed)
	return x.broken(err), again
}

// notConnected says what it means that there is no connection.
func (x *exchange) notConnected(err error) (f failure, again bool) {
	x.attempts++
	x.ev.WaitMicros = micros(time.Since(x.askedAt))
	if errors.Is(err, errClientLeft) {
		x.c.clientGone.Store(true)
		return failClientClosed, false
	}
	x.cause = err
	if f = connectFailure(err); f == failPool || f == failUpstreamBusy {
		x.c.warn(f)
		return f, false
	}
	return f, true
}

// broken closes the connection, and says what an error between the first byte to the server and the end of the response's header means.
func (x *exchange) broken(err error) failure {
	if cause := x.stopUpload(); cause != nil {
		err = cause
	}
	if errors.Is(err, errClientBody) || errors.Is(err, errBodyTooLarge) {
		x.sentAt = time.Time{} // the server has never had the request
	}
	x.dropUpstream()
	x.cause = err
	if errors.Is(err, errClientBody) {
		return x.c.bodyFailure()
	}
	return x.timedOut(exchangeFailure(err), "no response header within proxy.response_timeout", x.route.responseTimeout)
}

// repeatable reports whether the request may be sent again after an error: it has not been sent, or it is replayable and no byte of a response
// has come.
func (x *exchange) repeatable(err error, streamed bool) bool {
	return errors.Is(err, errNotSent) && !streamed || errors.Is(err, errNoResponse) && x.replayable()
}

// replayable reports whether the request may be sent twice: it must be idempotent and have no body.
func (x *exchange) replayable() bool {
	h := &x.head
	return !h.HasBody() && (h.Is("GET") || h.Is("HEAD") || h.Is("OPTIONS") || h.Is("TRACE"))
}

func (x *exchange) roundTrip(u *upstreamConn, streamed bool) error {
	if x.route.rewriteHost {
		x.out = http1.ReplaceHost(x.out, x.server.key.host)
	}
	x.beginSending(u)
	u.limits.armWrite(x.deadline(x.route.responseTimeout))
	n, err := u.Conn.Write(x.out)
	if err == nil {
		if streamed {
			x.startUpload(u)
		}
		return x.readHead(u)
	}
	if isTimeout(err) {
		return err
	}
	// The upstream did not accept the rest of the request. It may have answered without it.
	x.upBroken, x.awaitingContinue = true, false
	headErr := x.readHead(u)
	if errors.Is(headErr, errNoResponse) {
		if n == 0 {
			return fmt.Errorf("%w: %w: %w", errNoResponse, errNotSent, err)
		}
		return fmt.Errorf("%w: %w", errNoResponse, err)
	}
	return headErr
}

// connect returns a connection to x.server: a dedicated one for an upgrade, or one of the pool.
func (x *exchange) connect() (*upstreamConn, error) {
	if x.upgrading {
		return x.server.pool.dialDedicated(x.c.driver)
	}
	return x.server.pool.get(x.c.driver, x.c.shareAccount(), x.c)
}

// releaseUpstream returns the connection to the pool, or closes it if it cannot carry another request.
func (x *exchange) releaseUpstream(closes bool) {
	u := x.up
	if u == nil {
		return
	}
	if closes || x.upBroken || x.resp.Closes() || x.upload.ended != nil || x.awaitingContinue {
		x.dropUpstream()
		return
	}
	if !x.c.takeBack() {
		x.dropUpstream()
		return
	}
	switch {
	case x.resp.ConnectionAuth || u.pinned:
		x.up = nil
		x.c.pinUpstream(u, x.server)
	case x.head.ConnectionAuth: // the service may have authenticated the connection as this client
		x.dropUpstream()
	default:
		x.up = nil
		x.server.pool.put(u)
	}
}

// dropUpstream closes the connection.
func (x *exchange) dropUpstream() {
	if x.up != nil {
		x.c.takeBack()
		x.server.pool.discard(x.up)
		x.up = nil
	}
}
