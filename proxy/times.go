package proxy

import (
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// waitLeast is the shortest wait for a connection that is reported, unless the connection had to be dialled. Less is not waiting.
const waitLeast = time.Millisecond

// times are those of an exchange. Duration and time to the first byte are the upstream's: they begin when it has the request, so neither a
// client that sends slowly nor a queue in the proxy looks like a slow service. What comes before are the request's time and the wait.
type times struct {
	first time.Time // when the request's first byte came; zero: all of it came at once
	asked time.Time // just before a connection to the upstream was requested; zero: none was
	sent  time.Time // when the upstream had the request; zero: never
	head  time.Time // when the response's header was read
	end   time.Time // when the last byte was read; zero: when the response is recorded
}

// beginRequest is called when a part of the request has come, and more must be waited for.
func (t *times) beginRequest() {
	if t.first.IsZero() {
		t.first = time.Now()
	}
}

// beginSending is called when there is a connection, just before the request is sent over it. It returns how long that was waited for, if
// it is worth reporting. reused: the connection did not have to be dialled.
func (t *times) beginSending(reused bool) (waited time.Duration, worth bool) {
	t.sent = time.Now()
	waited = t.sent.Sub(t.asked)
	return waited, waited >= waitLeast || !reused
}

// endSending is called when all of a streamed body has been sent; at is when its last bytes were about to be. If the response had come
// before, the upstream did not need all of the body for it: then its time begins with the header.
func (t *times) endSending(at time.Time) {
	if at.After(t.sent) && (t.head.IsZero() || !at.After(t.head)) {
		t.sent = at
	}
}

// note fills in the times of an event.
func (t *times) note(ev *event.Event) {
	if !t.first.IsZero() {
		end := t.sent
		if end.IsZero() {
			end = time.Now()
		}
		ev.RequestMicros = micros(end.Sub(t.first))
	}
	if t.sent.IsZero() {
		return
	}
	end := t.end
	if end.IsZero() {
		end = time.Now()
	}
	ev.DurationMicros = micros(end.Sub(t.sent))
	ev.TTFBMicros = ev.DurationMicros
	if !t.head.IsZero() {
		ev.TTFBMicros = micros(t.head.Sub(t.sent))
	}
}

func micros(d time.Duration) uint64 { return uint64(max(d, 0) / time.Microsecond) }
