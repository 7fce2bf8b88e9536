package http2

import "time"

// Limits bound what a peer may cost. Zero means the default that each documents.
type Limits struct {
	// Streams is how many streams may be open. A stream counts until it is released, even if it has been reset. Further ones are refused
	// with REFUSED_STREAM, and the peer may repeat them. Default 100.
	Streams int
	// HeaderBytes limits a request's fields after decompression, with 32 bytes for each field (RFC 9113, section 6.5.2); beyond it the
	// request is reported with http1.ErrHeaderSize. A field block may have twice as many bytes before decompression. Default 32 KiB.
	HeaderBytes int
	// TrailerBytes limits the trailers of a request in the same way; beyond it the stream is reset. Default 8 KiB.
	TrailerBytes int
	// Continuations is how many CONTINUATION frames a field block may have. Default 32.
	Continuations int
	// StreamWindow is how many bytes of a body the peer may send before the caller has consumed them. At least 65,535, which is the default.
	StreamWindow int
	// ConnWindow is the same for all streams together. Default 1 MiB; at least StreamWindow.
	ConnWindow int
	// Resets limits the streams that end early: those that the peer resets before they have a whole response, and those that it makes
	// this side reset by breaking the protocol. Default 500, and 100 a second.
	Resets Budget
	// Control limits frames that carry nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM of streams that have ended, unknown
	// ones, and DATA without data. Each request and each piece of a response adds a few to the budget, because peers acknowledge such
	// frames with others. Default 1000, and 100 a second.
	Control Budget
	// QueuedBytes limits the output that consists of acknowledgements and resets, and that the peer does not take. Default 16 KiB.
	QueuedBytes int
}

// Budget limits how often something may happen.
type Budget struct {
	Burst     int // at once
	PerSecond int // and then so often
}

// Limit names the limit that a peer has exceeded.
type Limit uint8

// The limits of a connection.
const (
	LimitNone          Limit = iota
	LimitStreams             // concurrent streams; the stream is refused
	LimitResets              // Limits.Resets
	LimitControl             // Limits.Control
	LimitContinuations       // frames, or bytes before decompression, of a field block
	LimitFields              // fields after decompression
	LimitQueued              // Limits.QueuedBytes
	LimitsKnown
)

var limitNames = [LimitsKnown]string{
	LimitStreams: "streams", LimitResets: "resets", LimitControl: "control_frames", LimitContinuations: "continuations", LimitFields: "fields",
	LimitQueued: "queued_bytes",
}

// String returns a name for metrics.
func (l Limit) String() string { return limitNames[l] }

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		value    *int
		standard int
	}{
		{&l.Streams, 100},
		{&l.HeaderBytes, 32 << 10},
		{&l.TrailerBytes, 8 << 10},
		{&l.Continuations, 32},
		{&l.StreamWindow, windowFirst},
		{&l.ConnWindow, 1 << 20},
		{&l.Resets.Burst, 500},
		{&l.Resets.PerSecond, 100},
		{&l.Control.Burst, 1000},
		{&l.Control.PerSecond, 100},
		{&l.QueuedBytes, 16 << 10},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	l.StreamWindow = min(max(l.StreamWindow, windowFirst), windowMax)
	l.ConnWindow = min(max(l.ConnWindow, l.StreamWindow), windowMax)
	return l
}

// bucket is what is left of a Budget.
type bucket struct {
	left int
	at   time.Duration // when it was refilled
}

// take takes one, and reports whether there was one left.
func (b *bucket) take(of Budget, now time.Duration) bool {
	if more := int(float64(of.PerSecond) * (now - b.at).Seconds()); more > 0 {
		b.left, b.at = min(b.left+more, of.Burst), now
	}
	b.left--
	return b.left >= 0
}

func (b *bucket) add(n int, of Budget) { b.left = min(b.left+n, of.Burst) }
