package journal

import (
	"testing"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

func sampleEvent() *event.Event {
	return &event.Event{
		TimeMicros: 1_790_000_000_000_000, Kind: event.KindRequest, Status: 200, DurationMicros: 1234, TTFBMicros: 1200,
		RequestBytes: 12, ResponseBytes: 256, Method: []byte("GET"), Host: []byte("shop.example.com"),
		Path: []byte("/api/v1/users/123456/orders"), Upstream: []byte("127.0.0.1:8080"), Protocol: []byte("1.1"),
		Client: []byte("192.0.2.0"),
	}
}

func open(tb testing.TB, segmentBytes, segments int) *Journal {
	tb.Helper()
	j, err := Create(Options{Dir: tb.TempDir(), Epoch: uuid.Must(uuid.NewV7()), SegmentBytes: segmentBytes, Segments: segments})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { j.Close(false) })
	return j
}

func BenchmarkAppend(b *testing.B) {
	j := open(b, 1<<20, 8)
	e := sampleEvent()
	b.ReportAllocs()
	for b.Loop() {
		if _, r := j.Append(e); r == Full {
			for _, s := range j.Sealed() {
				j.Recycle(s)
			}
		}
	}
}
