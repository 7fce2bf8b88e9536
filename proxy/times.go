package proxy

import (
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// waitLeast is the shortest wait for a pooled connection that wayside reports. A shorter time does not count as waiting.
const waitLeast = time.Millisecond

// times are the times of an exchange. The duration and the time to the first byte belong to the upstream: they begin when the upstream
// has received the request, so that neither a slow client nor a queue in the proxy looks like a slow service. The time before that is
// split into the request's time and the wait.
type times struct {
	first time.Time // when the request's first byte arrived; zero if all of it arrived at once
	asked time.Time // just before a connection to the upstream was requested; zero if none was requested
	sent  time.Time // when the upstream had received the request; zero if it never did
	head  time.Time // when the response's header was read
	end   time.Time // when the last byte was read; if it is zero, the time of recording counts
}

// beginRequest is called when part of the request has arrived and the proxy must wait for more.
func (t *times) beginRequest() {
	if t.first.IsZero() {
		t.first = time.Now()
	}
}

// beginSending is called when a connection is available, just before the request is sent over it. It returns how long the request has waited for the
// connection, and whether that is worth reporting. reused means that the connection did not have to be dialed. atOnce means that there was nothing to
// wait for: the connection was requested less than a microsecond ago, so that time counts, and the clock is not read again.
func (t *times) beginSending(reused, atOnce bool) (waited time.Duration, worth bool) {
	if atOnce {
		t.sent = t.asked
		return 0, false
	}
	t.sent = time.Now()
	waited = t.sent.Sub(t.asked)
	return waited, waited >= waitLeast || !reused
}

// endSending is called when a streamed body has been sent completely; at is when its last bytes were about to be sent. If the response
// arrived earlier, the upstream did not need the whole body, so the upstream's time begins with the request's header.
func (t *times) endSending(at time.Time) {
	if at.After(t.sent) && (t.head.IsZero() || !at.After(t.head)) {
		t.sent = at
	}
}

// note fills in the times of an event. It returns the time at which the response had been received, or the current time if there is none.
func (t *times) note(ev *event.Event) time.Time {
	end := t.end
	if end.IsZero() {
		end = time.Now()
	}
	if !t.first.IsZero() {
		received := t.sent
		if received.IsZero() {
			received = end
		}
		ev.RequestMicros = micros(received.Sub(t.first))
	}
	if t.sent.IsZero() {
		return end
	}
	ev.DurationMicros = micros(end.Sub(t.sent))
	ev.TTFBMicros = ev.DurationMicros
	if !t.head.IsZero() {
		ev.TTFBMicros = micros(t.head.Sub(t.sent))
	}
	return end
}

func micros(d time.Duration) uint64 { return uint64(max(d, 0) / time.Microsecond) }
