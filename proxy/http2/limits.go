package http2

import "time"

// Limits bound the resources that a peer may use. For each field, zero means its default.
type Limits struct {
	// Streams is how many streams may be open. A stream counts until it is released, even if it has been reset. Further streams are refused
	// with REFUSED_STREAM, and the peer may repeat them. Default 100.
	Streams int
	// HeaderBytes limits a request's fields after decompression, plus 32 bytes for each field (RFC 9113, section 6.5.2). A larger request
	// is reported with http1.ErrHeaderSize. A field block may have twice as many bytes before decompression, and four times as many after
	// it. Default 32 KiB.
	HeaderBytes int
	// TrailerBytes limits the trailers of a request in the same way. If they are larger, the stream is reset. Default 8 KiB.
	TrailerBytes int
	// Continuations is how many CONTINUATION frames a field block may have. Default 32.
	Continuations int
	// StreamWindow is how many bytes of a body the peer may send before the caller has consumed them. At least 65,535, which is also the
	// default.
	StreamWindow int
	// ConnWindow is the same for all streams together. Default 1 MiB; at least StreamWindow.
	ConnWindow int
	// Resets limits the streams that end early: streams that the peer resets before it has the whole response, and streams that this
	// side resets because the peer violated the protocol. Default: a burst of 500, and 100 per second.
	Resets Budget
	// Control limits frames without content: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM for streams that have ended, unknown
	// frames, and DATA without data. Each request and each piece of a response adds a few to the budget, because peers respond to them with
	// such frames. Default: a burst of 1000, and 100 per second.
	Control Budget
	// QueuedBytes limits the unsent output that consists of acknowledgments and resets, for a peer that does not read. Default 16 KiB.
	QueuedBytes int
}

// Budget limits how often something may happen.
type Budget struct {
	Burst     int // how often in a burst
	PerSecond int // how often per second after that
}

// Limit names the limit that a peer has exceeded.
type Limit uint8

// The limits of a connection.
const (
	LimitNone          Limit = iota
	LimitStreams             // concurrent streams; the stream is refused
	LimitResets              // Limits.Resets
	LimitControl             // Limits.Control
	LimitContinuations       // number of frames in a field block, or its size before decompression
	LimitFields              // size of the fields after decompression
	LimitQueued              // Limits.QueuedBytes
	LimitsKnown
)

var limitNames = [LimitsKnown]string{
	LimitStreams: "streams", LimitResets: "resets", LimitControl: "control_frames", LimitContinuations: "continuations", LimitFields: "fields",
	LimitQueued: "queued_bytes",
}

// String returns the limit's name in metrics.
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

// budgets limit how often the peer may do things that cost it little.
type budgets struct {
	now     time.Duration // time passed to the current call of Conn.Next
	resets  bucket        // Limits.Resets
	control bucket        // Limits.Control
}

func newBudgets(l Limits) budgets {
	return budgets{resets: bucket{Budget: l.Resets, left: l.Resets.Burst}, control: bucket{Budget: l.Control, left: l.Control.Burst}}
}

// spend draws on the budget for frames without content.
func (b *budgets) spend() *ConnError {
	if !b.control.take(b.now) {
		return &ConnError{CodeEnhanceYourCalm, "too many frames without content", LimitControl}
	}
	return nil
}

// spendReset draws on the budget for streams that end early.
func (b *budgets) spendReset() *ConnError {
	if !b.resets.take(b.now) {
		return &ConnError{CodeEnhanceYourCalm, "too many streams have ended early", LimitResets}
	}
	return nil
}

// earn adds to the budget for frames without content, because the connection has done some work.
func (b *budgets) earn(n int) { b.control.left = min(b.control.left+n, b.control.Burst) }

// bucket is the current state of a Budget.
type bucket struct {
	Budget

	left int
	at   time.Duration // when it was last refilled
}

// take takes one unit from the bucket, and reports whether one was left.
func (b *bucket) take(now time.Duration) bool {
	if more := int(float64(b.PerSecond) * (now - b.at).Seconds()); more > 0 {
		b.left, b.at = min(b.left+more, b.Burst), now
	}
	b.left--
	return b.left >= 0
}
