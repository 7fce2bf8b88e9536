package proxy

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// The time limit of a whole exchange, beside those of its parts.

// by is the deadline that lies d ahead, or that of the whole exchange if it comes first. Streams have no such.
func (x *exchange) by(d time.Duration) int64 {
	at := x.c.p.sweeper.after(d)
	if x.totalBy > 0 && x.ev.Kind != event.KindStream && (at == 0 || at > x.totalBy) {
		return x.totalBy
	}
	return at
}

// noBody is what the upstream did not do within proxy.body_timeout.
const noBody = "nothing more of the response's body within proxy.body_timeout"

// timedOut tells the exchange's own time limit from the upstream's, and has the log name the one that is over.
func (x *exchange) timedOut(f failure, what string, limit time.Duration) failure {
	if f != failTimeout {
		return f
	}
	var op *net.OpError
	switch {
	case x.totalBy > 0 && x.c.p.sweeper.now.Load() >= x.totalBy:
		f, what, limit = failTotal, "not complete within proxy.total_timeout", x.c.p.o.TotalTimeout
	case errors.As(x.cause, &op) && op.Op == "write":
		what = "the request could not be sent within proxy.response_timeout"
	}
	x.cause = fmt.Errorf("%s (%s)", what, limit)
	return f
}

// uploadBy is the deadline of the response while the body is on its way.
func (x *exchange) uploadBy() int64 {
	if x.totalBy > 0 {
		return x.totalBy
	}
	return uploading
}
