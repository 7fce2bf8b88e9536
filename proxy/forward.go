package proxy

import (
	"errors"
	"fmt"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// This file sends a request to its server, and returns the server's connection to the pool afterwards. choose.go chooses the server.

// errNotSent means that no byte of the request has left the proxy.
var errNotSent = errors.New("the request was not sent")

// forward sends the request and reads the response's header. If it succeeds, x.up is the connection from which the response's body must be read. If
// it returns a failure, the connection is closed.
func (x *exchange) forward(streamed bool) failure {
	p := x.c.gen
	if x.upgrading && p.o.MaxConns > 0 && x.c.root.streams.count() >= p.o.MaxConns/tunnelShare {
		x.c.warn(failConns)
		return failConns
	}
	u, f := x.to.first(&x.req)
	for f == failNone {
		var again bool
		if f, again = x.attempt(u, streamed); f == failNone {
			return failNone
		}
		if !again || f == failTotal || x.c.watch.gone.Load() {
			return f
		}
		u = nil
		if f = x.to.another(&x.req, f); f == failNone {
			x.at.sent = time.Time{}
		}
	}
	return f
}

// attempt sends the request to x.to.server and reads the response's header. u is the connection to use; if it is nil, attempt takes one
// from the pool. After a failure, again reports whether the request may be sent to another server.
func (x *exchange) attempt(u *upstreamConn, streamed bool) (f failure, again bool) {
	var err error
	if u == nil {
		if u, err = x.connect(); err != nil {
			return x.notConnected(err)
		}
	}
	x.to.attempts++
	x.up = u
	x.c.watch.await(u)
	err = x.roundTrip(u, streamed)
	for n := 0; err != nil; n++ {
		if cause := x.upload.stop(); cause != nil {
			err = cause
			break
		}
		if !x.mayRedial(u, n, err, streamed) || !x.c.watch.takeBack() {
			break
		}
		// The server closed the connection while it was idle, or did not process the request.
		x.c.gen.metrics.retries.Add(1)
		x.up = nil
		if u, err = x.to.server.pool.redial(u); err != nil {
			x.at.sent = time.Time{}
			return x.notConnected(err)
		}
		x.to.attempts++
		x.up = u
		x.c.watch.await(u)
		err = x.roundTrip(u, streamed)
	}
	if err == nil {
		x.at.head = time.Now()
		x.upload.forget()
		return failNone, false
	}
	again = x.repeatable(err, streamed)
	return x.broken(err), again
}

const (
	// redialsMax is how many times a request may be sent to the same server again. With HTTP/1.1 it is sent again only once, because
	// the second connection is new.
	redialsMax = 3
	// unprocessedMax replaces redialsMax if the server announces each time that it is ending the connection and has not processed the
	// request.
	unprocessedMax = 10
)

// mayRedial reports whether a request that has failed after n redials is sent to the same server again, over another connection.
func (x *exchange) mayRedial(u *upstreamConn, n int, err error, streamed bool) bool {
	switch {
	case isTimeout(err) || errors.Is(err, errStreamReset) || !x.repeatable(err, streamed):
		return false
	case errors.Is(err, errRefused):
		return n < redialsMax && !x.to.group.members.Load().several // if the group has other servers, one of them may have more room
	case errors.Is(err, errUnprocessed):
		return n < unprocessedMax
	}
	return u.reused && n < redialsMax
}

// notConnected classifies the error if no connection could be made.
func (x *exchange) notConnected(err error) (f failure, again bool) {
	x.to.attempts++
	x.ev.WaitMicros = micros(time.Since(x.at.asked))
	if errors.Is(err, errClientLeft) {
		x.c.watch.gone.Store(true)
		return failClientClosed, false
	}
	x.to.cause = err
	if f = connectFailure(err); f == failPool || f == failUpstreamBusy {
		x.c.warn(f)
		return f, false
	}
	return f, true
}

// broken closes the connection after the upload has ended, and classifies an error that occurred between the first byte to the server and the
// end of the response's header.
func (x *exchange) broken(err error) failure {
	if errors.Is(err, errClientBody) || errors.Is(err, errBodyTooLarge) {
		x.at.sent = time.Time{} // the server never received the request
	}
	x.dropUpstream()
	x.to.cause = err
	if errors.Is(err, errClientBody) {
		return x.c.bodyFailure()
	}
	return x.limit.explain(exchangeFailure(err), &x.to.cause, "no response header", x.req.route.timeoutKey(), x.req.route.responseTimeout)
}

// repeatable reports whether the request may be sent again after an error. There are two such cases: the request has not been sent
// or processed and its body has been kept, or it is replayable and no byte of a response has arrived.
func (x *exchange) repeatable(err error, streamed bool) bool {
	if errors.Is(err, errNotSent) || errors.Is(err, errUnprocessed) {
		return !streamed || x.upload.replayable()
	}
	return errors.Is(err, errNoResponse) && !errors.Is(err, http1.ErrResponse) && x.req.replayable()
}

// roundTrip sends the request and reads the header of the response.
func (x *exchange) roundTrip(u *upstreamConn, streamed bool) error {
	if x.req.route.rewriteHost {
		x.out = http1.ReplaceHost(x.out, x.to.server.key.host)
	}
	if wait, worth := x.at.beginSending(u.reused, u.atOnce && x.to.attempts == 1); worth {
		x.ev.WaitMicros = micros(wait)
	}
	u.limits.armWrite(x.limit.after(x.req.route.responseTimeout))
	if u.call != nil {
		u.call.upgrade = x.upgrading && x.req.translatable()
	}
	n, err := u.Conn.Write(x.out)
	if err == nil {
		if streamed {
			x.upload.start(u)
		}
		return x.readHead(u)
	}
	if isTimeout(err) {
		return err
	}
	// The upstream did not accept the rest of the request. It may have responded without it.
	u.broken, x.upload.awaitingContinue = true, false
	headErr := x.readHead(u)
	if errors.Is(headErr, errNoResponse) {
		if n == 0 {
			return fmt.Errorf("%w: %w: %w", errNoResponse, errNotSent, err)
		}
		return fmt.Errorf("%w: %w", errNoResponse, err)
	}
	return headErr
}

// connect returns a connection to x.to.server: a dedicated HTTP/1.1 connection for an upgrade, otherwise one from the pool. A server that is
// known to speak HTTP/2 receives an extended CONNECT or, if it does not accept that, a request without Upgrade.
func (x *exchange) connect() (*upstreamConn, error) {
	if x.upgrading && !x.to.server.key.h2c {
		return x.to.server.pool.dialDedicated(x.c.driver)
	}
	return x.to.server.pool.get(x.c.driver, x.c.share.limits(), x.c)
}

// releaseUpstream returns the connection to the pool, or closes it if it cannot carry another request.
func (x *exchange) releaseUpstream(closes bool) {
	u := x.up
	if u == nil {
		return
	}
	if closes || u.broken || x.resp.Closes() || x.upload.ended != nil || x.upload.awaitingContinue {
		x.dropUpstream()
		return
	}
	if !x.c.watch.takeBack() {
		x.dropUpstream()
		return
	}
	switch {
	case u.call == nil && (x.resp.ConnectionAuth || u.pinned):
		x.up = nil
		x.c.pinned.put(u, x.to.server, x.c.gen.sweeper.now.Load())
		if phase(x.c.phase.Load()) == phaseClosed {
			x.c.pinned.drop()
		}
	case x.req.ConnectionAuth: // the service may now attribute the connection to this client
		x.dropUpstream()
	default:
		x.up = nil
		x.to.server.pool.put(u)
	}
}

// dropUpstream closes the connection.
func (x *exchange) dropUpstream() {
	if x.up != nil {
		x.c.watch.takeBack()
		x.to.server.pool.discard(x.up)
		x.up = nil
	}
}
