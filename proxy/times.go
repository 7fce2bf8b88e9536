package proxy

import "time"

// The times of an exchange. Duration and time to the first byte are the upstream's: they begin when it has the request, so neither a
// client that sends slowly nor a queue in the proxy looks like a slow service. What comes before are the request's time and the wait.

// waitLeast is the shortest wait for a connection that is reported, unless the connection had to be dialled. Less is not waiting.
const waitLeast = time.Millisecond

// beginRequest is called when a part of the request has come, and more must be waited for.
func (x *exchange) beginRequest() {
	if x.firstAt.IsZero() {
		x.firstAt = time.Now()
	}
}

// beginSending is called when there is a connection, just before the request is sent over it.
func (x *exchange) beginSending(u *upstreamConn) {
	x.sentAt = time.Now()
	if wait := x.sentAt.Sub(x.askedAt); wait >= waitLeast || !u.reused {
		x.ev.WaitMicros = micros(wait)
	}
}

// endSending is called when all of a streamed body has been sent. If the response had come before, the upstream did not need all of the
// body for it: then its time begins with the header.
func (x *exchange) endSending() {
	if at := x.upload.sentAt; x.body.Ended() && at.After(x.sentAt) && (x.headAt.IsZero() || !at.After(x.headAt)) {
		x.sentAt = at
	}
}

// noteTimes fills in the event's times.
func (x *exchange) noteTimes() {
	ev := &x.ev
	if x.upload.ended != nil && x.upload.over.Load() { // since awaitUpload has looked
		x.endSending()
	}
	if !x.firstAt.IsZero() {
		end := x.sentAt
		if end.IsZero() {
			end = time.Now()
		}
		ev.RequestMicros = micros(end.Sub(x.firstAt))
	}
	if x.sentAt.IsZero() {
		return
	}
	end := x.endAt
	if end.IsZero() {
		end = time.Now()
	}
	ev.DurationMicros = micros(end.Sub(x.sentAt))
	ev.TTFBMicros = ev.DurationMicros
	if !x.headAt.IsZero() {
		ev.TTFBMicros = micros(x.headAt.Sub(x.sentAt))
	}
}

func micros(d time.Duration) uint64 { return uint64(max(d, 0) / time.Microsecond) }
