package event

import (
	"encoding/hex"

	"github.com/wayside-proxy/wayside/internal/varint"
)

// Lengths in bytes of the two parts of a Span, as W3C Trace Context defines them.
const (
	traceBytes  = 16
	parentBytes = 8
	spanBytes   = traceBytes + parentBytes
)

// Span is the place of a request in a trace, according to the client's traceparent: the trace ID, and the ID of the client's span, which
// is the parent. It is set only for requests whose span is to be exported.
type Span [spanBytes]byte

// Trace returns the trace ID. It points into s.
func (s *Span) Trace() []byte { return s[:traceBytes] }

// Parent returns the ID of the span in which the client sent the request. It points into s.
func (s *Span) Parent() []byte { return s[traceBytes:] }

// valid reports whether both IDs are set. An ID of zeros only is invalid.
func (s *Span) valid() bool {
	return [traceBytes]byte(s.Trace()) != [traceBytes]byte{} && [parentBytes]byte(s.Parent()) != [parentBytes]byte{}
}

// Lengths in a traceparent of version 00 (W3C Trace Context, section 3.2): version-trace-parent-flags, in lower-case hexadecimal.
const (
	traceparentBytes = 55
	traceAt          = 3
	parentAt         = 36
	flagsAt          = 53
)

// ParseTraceparent returns the span and the sampled flag of a traceparent. ok is false if it is malformed. A version above 00 may have more
// fields, which are ignored.
func ParseTraceparent(text []byte) (s Span, sampled, ok bool) {
	if len(text) < traceparentBytes || text[2] != '-' || text[parentAt-1] != '-' || text[flagsAt-1] != '-' {
		return Span{}, false, false
	}
	var version, flags [1]byte
	for _, field := range []struct{ into, from []byte }{
		{version[:], text[:traceAt-1]},
		{s.Trace(), text[traceAt : parentAt-1]},
		{s.Parent(), text[parentAt : flagsAt-1]},
		{flags[:], text[flagsAt:traceparentBytes]},
	} {
		if !lowerHex(field.into, field.from) {
			return Span{}, false, false
		}
	}
	rest := text[traceparentBytes:]
	if version[0] == 0xff || len(rest) > 0 && (version[0] == 0 || rest[0] != '-') || !s.valid() {
		return Span{}, false, false
	}
	return s, flags[0]&1 == 1, true
}

// lowerHex decodes lower-case hexadecimal digits. It returns false if src contains anything else.
func lowerHex(dst, src []byte) bool {
	for _, c := range src {
		if c >= 'A' && c <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(dst, src)
	return err == nil
}

// Sampled reports whether this trace is among the given percentage of all traces. It uses the last seven bytes of the trace ID, which W3C
// Trace Context Level 2 requires to be random. So all programs that sample in this way choose the same traces.
func (s *Span) Sampled(percent int) bool {
	const bits = 56
	var random uint64
	for _, b := range s[traceBytes-bits/8 : traceBytes] {
		random = random<<8 | uint64(b)
	}
	return random >= (uint64(100-percent)<<bits)/100
}

// readSpan reads the field of version 5. It rejects the zero value, for which Encode would have written version 4 or older.
func (e *Event) readSpan(r *varint.Reader) {
	for i := range e.Span {
		e.Span[i] = r.Byte()
	}
	r.Bad = r.Bad || e.Span == Span{}
}
