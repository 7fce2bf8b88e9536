package proxy

import (
	"io"
	"net/http"
	"testing"

	"github.com/wayside-proxy/wayside/internal/event"
)

// TestSpans: an event has a span only if the client has set the sampled flag, and the trace is among the percentage. The
// upstream gets traceparent unchanged.
func TestSpans(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("Traceparent")) })
	b := start(t, url, func(o *Options) { o.SpanPercent = 50 })
	const sampled = "00-4bf92f3577b34da6a3ffffffffffffff-00f067aa0ba902b7-01"
	cases := []struct {
		traceparent string
		want        bool
	}{
		{sampled, true},
		{"00-4bf92f3577b34da6a3ffffffffffffff-00f067aa0ba902b7-00", false},
		{"00-4bf92f3577b34da6a300000000000000-00f067aa0ba902b7-01", false}, // in the other half
		{"00-4bf92f3577b34da6a3ffffffffffffff-00f067aa0ba902b7", false},
		{"", false},
		{sampled, true},
	}
	b.responses = len(cases)
	c := b.dial()
	for _, k := range cases {
		field := ""
		if k.traceparent != "" {
			field = "traceparent: " + k.traceparent + "\r\n"
		}
		c.send("GET / HTTP/1.1\r\nHost: a\r\n" + field + "\r\n")
		if _, body := c.receive("GET"); body != k.traceparent {
			t.Errorf("the upstream got %q instead of %q", body, k.traceparent)
		}
	}
	want, _, _ := event.ParseTraceparent([]byte(sampled))
	for i, e := range b.books.all() {
		if (e.Span == want) != cases[i].want || (e.Span == event.Span{}) == cases[i].want {
			t.Errorf("%q: span %x", cases[i].traceparent, e.Span)
		}
	}
}
