package http2_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/proxy/http2"
)

// The windows of a fuzzed connection. The connection's window is smaller than the windows of two streams.
const (
	fuzzStreamWindow = 65535
	fuzzConnWindow   = 100_000
)

// fuzzed is a connection that receives any input. It responds to every complete request. It consumes data only when a stream ends, and when the
// client opens a window, and checks that the connection delivers no more than its own windows allow.
type fuzzed struct {
	t          testing.TB
	c          *http2.Conn
	log        []string
	data       strings.Builder // adjacent pieces of data, because their boundaries depend on those of the input's pieces
	of         *http2.Stream   // the stream of data; nil if there is none
	unconsumed map[*http2.Stream]int
}

// run passes the bytes of input to a connection in pieces, and returns the events and the output.
func run(t testing.TB, input []byte, pieces func() int) (log []string, out []byte) {
	c := http2.New(http2.Limits{Streams: 4, StreamWindow: fuzzStreamWindow, ConnWindow: fuzzConnWindow}, 0)
	f := fuzzed{t: t, c: c, unconsumed: map[*http2.Stream]int{}}
	var b []byte
	for len(input) > 0 {
		n := min(max(pieces(), 1), len(input))
		b, input = append(b, input[:n]...), input[n:]
		for {
			ev, n, err := c.Next(b, 0)
			if n > len(b) {
				t.Fatalf("%d of %d bytes taken", n, len(b))
			}
			b = b[n:]
			if err != nil {
				f.flush()
				return append(f.log, err.Error()), append(out, c.TakeOutput(nil)...)
			}
			if ev.Kind == http2.EventNone {
				break
			}
			f.event(ev)
		}
		if len(b) > 15 {
			t.Fatalf("%d bytes were not taken", len(b))
		}
	}
	f.flush()
	return f.log, append(out, c.TakeOutput(nil)...)
}

func (f *fuzzed) event(ev http2.Event) {
	if ev.Kind == http2.EventData {
		f.receive(ev.Stream, ev.Data)
	} else {
		f.flush()
		f.log = append(f.log, describe(ev))
	}
	switch {
	case ev.Kind == http2.EventReset:
		delete(f.unconsumed, ev.Stream)
		f.c.Release(ev.Stream, http2.CodeCancel)
	case ev.Kind == http2.EventWindow:
		f.consume()
	case ev.End, ev.Kind == http2.EventRequest && ev.Stream.Err != nil:
		f.flush()
		delete(f.unconsumed, ev.Stream)
		answer(f.c, ev.Stream)
	}
}

// receive checks that the windows allow the data of a stream.
func (f *fuzzed) receive(s *http2.Stream, data []byte) {
	if s != f.of {
		f.flush()
		f.of = s
		fmt.Fprintf(&f.data, "data %d ", s.ID)
	}
	f.data.Write(data)
	f.unconsumed[s] += len(data)
	total := 0
	for _, n := range f.unconsumed {
		total += n
	}
	if f.unconsumed[s] > fuzzStreamWindow || total > fuzzConnWindow {
		f.t.Fatalf("more data than the windows allow: %d bytes of stream %d and %d bytes of all streams are not consumed", f.unconsumed[s], s.ID, total)
	}
}

// consume consumes all data. The windows depend on the order.
func (f *fuzzed) consume() {
	for _, s := range slices.SortedFunc(maps.Keys(f.unconsumed), func(a, b *http2.Stream) int { return cmp.Compare(a.ID, b.ID) }) {
		f.c.Consumed(s, f.unconsumed[s])
		delete(f.unconsumed, s)
	}
}

func (f *fuzzed) flush() {
	if f.of != nil {
		f.log = append(f.log, f.data.String())
		f.data.Reset()
		f.of = nil
	}
}

func answer(c *http2.Conn, s *http2.Stream) {
	status := "200 OK"
	if s.Upgrade {
		status = "101 Switching Protocols"
	}
	c.WriteHead(s, []byte("HTTP/1.1 "+status+"\r\nA: b\r\n\r\n"), false)
	c.WriteData(s, []byte("hello"), true)
	c.Release(s, http2.CodeInternal)
}
