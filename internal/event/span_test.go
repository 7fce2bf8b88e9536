package event

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const goldenTraceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

var goldenSpan, _, _ = ParseTraceparent([]byte(goldenTraceparent))

// goldenWithSpan returns events of version 5, with and without other optional fields.
func goldenWithSpan() []Event {
	a, b := goldenWithEdge()[0], goldenEvents()[0]
	a.Span, b.Span = goldenSpan, goldenSpan
	return []Event{a, b}
}

func TestSpanGolden(t *testing.T) {
	for i, want := range goldenWithSpan() {
		raw := golden(t, []string{"record-span-edge.v5.hex", "record-span.v5.hex"}[i], encode(&want))
		var got Event
		if err := got.Decode(raw); err != nil || raw[0] != 5 {
			t.Fatal(err, raw[0])
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("decoded event differs (-want +got):\n%s", diff)
		}
		for n := range spanBytes {
			if new(Event).Decode(raw[:len(raw)-1-n]) == nil {
				t.Errorf("accepted a record without its last %d bytes", n+1)
			}
		}
		clear(raw[len(raw)-spanBytes:])
		if new(Event).Decode(raw) == nil {
			t.Error("accepted a record of version 5 without a span, which has another encoding")
		}
	}
}

// A span costs 31 bytes in the spool, and events without one cost nothing.
func TestSpanCost(t *testing.T) {
	e := goldenEvents()[0]
	without := e.Size()
	if encode(&e)[0] != versionPlain {
		t.Error("an event without a span has a new version")
	}
	e.Span = goldenSpan
	if cost := e.Size() - without; cost != 31 {
		t.Errorf("a span costs %d bytes", cost)
	}
}

func TestParseTraceparent(t *testing.T) {
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for _, c := range []struct {
		text        string
		sampled, ok bool
	}{
		{goldenTraceparent, true, true},
		{"00-" + trace + "-" + parent + "-00", false, true},
		{"00-" + trace + "-" + parent + "-03", true, true}, // the second flag says that the trace ID is random
		{"01-" + trace + "-" + parent + "-01", true, true},
		{"01-" + trace + "-" + parent + "-01-more", true, true},
		{"01-" + trace + "-" + parent + "-01more", false, false},
		{"00-" + trace + "-" + parent + "-01-more", false, false},
		{"ff-" + trace + "-" + parent + "-01", false, false},
		{"00-" + strings.Repeat("0", 32) + "-" + parent + "-01", false, false},
		{"00-" + trace + "-" + strings.Repeat("0", 16) + "-01", false, false},
		{"00-" + strings.ToUpper(trace) + "-" + parent + "-01", false, false},
		{"00-" + trace + "-" + parent + "-0g", false, false},
		{"00-" + trace + "_" + parent + "-01", false, false},
		{"00-" + trace + "-" + parent + "-1", false, false},
		{"", false, false},
	} {
		s, sampled, ok := ParseTraceparent([]byte(c.text))
		if sampled != c.sampled || ok != c.ok {
			t.Errorf("%q: %v, %v", c.text, sampled, ok)
		}
		if ok && (hex.EncodeToString(s.Trace()) != trace || hex.EncodeToString(s.Parent()) != parent) {
			t.Errorf("%q: %x", c.text, s)
		}
	}
}

func TestSampled(t *testing.T) {
	for _, c := range []struct {
		random  string // the last seven bytes of the trace ID
		percent int
		want    bool
	}{
		{"00000000000000", 100, true},
		{"ffffffffffffff", 0, false},
		{"ffffffffffffff", 1, true},
		{"7fffffffffffff", 50, false},
		{"80000000000000", 50, true},
	} {
		s, _, ok := ParseTraceparent([]byte("00-4bf92f3577b34da6a3" + c.random + "-00f067aa0ba902b7-01"))
		if !ok || s.Sampled(c.percent) != c.want {
			t.Errorf("%s at %d%%: %v, want %v", c.random, c.percent, !c.want, c.want)
		}
	}
}

// FuzzParseTraceparent checks that a span that was parsed has the IDs of the text.
func FuzzParseTraceparent(f *testing.F) {
	f.Add([]byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
	f.Add([]byte("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-more"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, _, ok := ParseTraceparent(text)
		if !ok {
			if s != (Span{}) {
				t.Errorf("%q is malformed, but has the span %x", text, s)
			}
			return
		}
		if want := fmt.Sprintf("-%x-%x-", s.Trace(), s.Parent()); string(text[2:traceparentBytes-2]) != want {
			t.Errorf("%q has the span %s", text, want)
		}
	})
}
