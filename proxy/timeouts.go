package proxy

import (
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

// timeoutKind tells the exchange's own time limit from the upstream's.
func (x *exchange) timeoutKind(f failure) failure {
	if f == failTimeout && x.totalBy > 0 && x.c.p.sweeper.now.Load() >= x.totalBy {
		return failTotal
	}
	return f
}

// uploadBy is the deadline of the response while the body is on its way.
func (x *exchange) uploadBy() int64 {
	if x.totalBy > 0 {
		return x.totalBy
	}
	return uploading
}
