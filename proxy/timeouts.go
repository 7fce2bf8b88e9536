package proxy

import (
	"errors"
	"fmt"
	"math"
	"net"
	"time"
)

// uploading is a read deadline that never fires. It is used while a body is being sent and the response has no deadline.
const uploading = math.MaxInt64

// timeLimit is the time limit for a whole exchange, in addition to those for its parts. Streams have none.
type timeLimit struct {
	sweeper *sweeper
	limit   time.Duration // Options.TotalTimeout
	at      int64         // sweeper time at which the exchange is ended; 0 if there is no limit
}

// begin starts the limit.
func (l *timeLimit) begin(s *sweeper, limit time.Duration) { *l = timeLimit{s, limit, s.after(limit)} }

// lift is called when the response turns out to be a stream.
func (l *timeLimit) lift() { l.at = 0 }

// after returns the deadline that is d from now, or the one for the whole exchange if that is earlier.
func (l *timeLimit) after(d time.Duration) int64 {
	at := l.sweeper.after(d)
	if l.at > 0 && (at == 0 || at > l.at) {
		return l.at
	}
	return at
}

// uploading returns the deadline for the response while the request's body is being sent.
func (l *timeLimit) uploading() int64 {
	if l.at > 0 {
		return l.at
	}
	return uploading
}

// noBody and bodyTimeoutKey are logged if the upstream is silent for proxy.body_timeout within a body.
const noBody, bodyTimeoutKey = "no more of the response's body arrived", "proxy.body_timeout"

// explain finds out which time limit has passed if f is failTimeout, and replaces the cause so that the log names the key of that limit. For
// other failures it changes nothing.
func (l *timeLimit) explain(f failure, cause *error, what, key string, limit time.Duration) failure {
	if f != failTimeout {
		return f
	}
	var op *net.OpError
	switch {
	case l.at > 0 && l.sweeper.now.Load() >= l.at:
		f, what, key, limit = failTotal, "the exchange was not complete", "proxy.total_timeout", l.limit
	case errors.As(*cause, &op) && op.Op == "write":
		what = "the request could not be sent"
	}
	*cause = fmt.Errorf("%s within %s (%s)", what, key, limit)
	return f
}

// timeoutKey returns the configuration key that set responseTimeout, for the log.
func (s *routeSettings) timeoutKey() string {
	if s.ownTimeout {
		return fmt.Sprintf("response_timeout of route %s", s.name)
	}
	return "proxy.response_timeout"
}
