package proxy

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// The time limit of a whole exchange, in addition to those of its parts.

// deadline returns the deadline d from now, or that of the whole exchange if it comes first. Streams have no total limit.
func (x *exchange) deadline(d time.Duration) int64 {
	at := x.c.gen.sweeper.after(d)
	if x.totalDeadline > 0 && x.ev.Kind != event.KindStream && (at == 0 || at > x.totalDeadline) {
		return x.totalDeadline
	}
	return at
}

// noBody is the cause that is logged if the upstream was silent for proxy.body_timeout.
const noBody = "nothing more of the response's body within proxy.body_timeout"

// timedOut finds out which time limit has passed, and sets x.cause so that the log names it.
func (x *exchange) timedOut(f failure, what string, limit time.Duration) failure {
	if f != failTimeout {
		return f
	}
	var op *net.OpError
	switch {
	case x.totalDeadline > 0 && x.c.gen.sweeper.now.Load() >= x.totalDeadline:
		f, what, limit = failTotal, "not complete within proxy.total_timeout", x.c.gen.o.TotalTimeout
	case errors.As(x.cause, &op) && op.Op == "write":
		what = "the request could not be sent within proxy.response_timeout"
	}
	x.cause = fmt.Errorf("%s (%s)", what, limit)
	return f
}

// uploadDeadline is the deadline of the response while the request's body is being sent.
func (x *exchange) uploadDeadline() int64 {
	if x.totalDeadline > 0 {
		return x.totalDeadline
	}
	return uploading
}
