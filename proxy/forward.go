package proxy

import (
	"errors"
	"fmt"
	"time"
)

// Choosing the server of a request, reaching it, and giving its connection back.

// forward sends the request and reads the response's header. If it succeeds, x.up is the connection with the response's body. If it
// returns a failure, the connection is closed.
func (x *exchange) forward(streamed bool) failure {
	p := x.c.gen
	x.server = x.group.pick()
	if x.upgrading && p.o.MaxConns > 0 && x.c.root.streams.count() >= p.o.MaxConns/tunnelShare {
		x.c.warn(failConns)
		return failConns
	}
	u, err := x.connect()
	if err != nil {
		x.ev.WaitMicros = micros(time.Since(x.askedAt))
	}
	if errors.Is(err, errClientLeft) {
		x.c.clientGone.Store(true)
		return failClientClosed
	}
	if err != nil {
		f := connectFailure(err)
		x.cause = err
		if f == failPool {
			x.c.warn(f)
		}
		return f
	}
	x.up = u
	x.c.awaitUpstream(u)
	err = x.roundTrip(u, streamed)
	if err != nil && u.reused && x.replayable() && x.c.takeBack() && errors.Is(err, errNoResponse) && !isTimeout(err) {
		// An idle connection that the upstream closed in the meantime: it has not answered this request.
		p.metrics.retries.Add(1)
		x.up = nil
		if u, err = x.server.pool.redial(u); err != nil {
			x.cause, x.sentAt = err, time.Time{}
			x.ev.WaitMicros = micros(time.Since(x.askedAt))
			return connectFailure(err)
		}
		x.up = u
		x.c.awaitUpstream(u)
		err = x.roundTrip(u, streamed)
	}
	if err != nil {
		if cause := x.stopUpload(); cause != nil {
			err = cause
		}
		if errors.Is(err, errClientBody) || errors.Is(err, errBodyTooLarge) {
			x.sentAt = time.Time{} // the upstream has never had the request
		}
		x.dropUpstream()
		x.cause = err
		if errors.Is(err, errClientBody) {
			return x.c.bodyFailure()
		}
		return x.timedOut(exchangeFailure(err), "no response header within proxy.response_timeout", p.o.ResponseTimeout)
	}
	x.headAt = time.Now()
	return failNone
}

// replayable reports whether the request may be sent twice: it must be idempotent and have no body.
func (x *exchange) replayable() bool {
	h := &x.head
	return !h.HasBody() && (h.Is("GET") || h.Is("HEAD") || h.Is("OPTIONS") || h.Is("TRACE"))
}

func (x *exchange) roundTrip(u *upstreamConn, streamed bool) error {
	x.beginSending(u)
	u.limits.armWrite(x.deadline(x.c.gen.o.ResponseTimeout))
	_, err := u.Conn.Write(x.out)
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
		return fmt.Errorf("%w: %w", errNoResponse, err)
	}
	return headErr
}

// connect returns the client's pinned connection, a dedicated one for an upgrade, or one of the pool.
func (x *exchange) connect() (*upstreamConn, error) {
	if u, s := x.c.takePinned(x.group); u != nil {
		x.server, x.ev.Upstream = s, s.name
		return u, nil
	}
	x.ev.Upstream = x.server.name
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
