package uploader

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

var testEpoch = uuid.MustParse("0199a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b")

// testHour is the hour in which test traffic happens.
var testHour = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// traffic makes n events as a sidecar of a web shop would record them, 10,000 a second: 300 routes, IDs in paths and client
// networks (masked to /24) follow Zipf laws; latencies are exponential; a few are errors.
func traffic(n int, start time.Time, firstSeq uint64, traceIDs bool) []memItem {
	r := rand.New(rand.NewPCG(7, firstSeq))
	routes := rand.NewZipf(r, 1.2, 4, 299)
	ids, clients := rand.NewZipf(r, 1.1, 10, 49_999), rand.NewZipf(r, 1.1, 10, 4_999)
	items := make([]memItem, n)
	at := start.UnixMicro()
	for i := range items {
		at += int64(r.ExpFloat64() * 100)
		route := routes.Uint64()
		label := fmt.Sprintf("/api/v1/section-%d/list", route)
		path := label
		if route%3 != 0 {
			label = fmt.Sprintf("/api/v1/things-%d/{id}", route)
			path = fmt.Sprintf("/api/v1/things-%d/%d", route, ids.Uint64()*7919%50_000)
		}
		e := event.Event{
			TimeMicros: at, Kind: event.KindRequest, Status: 200, Method: []byte("GET"), Host: []byte("shop.example.com"),
			Path: []byte(path), Upstream: []byte("127.0.0.1:8080"), Protocol: []byte("1.1"),
			Client:        appendClient(nil, clients.Uint64()),
			ResponseBytes: 200 + route*97,
		}
		e.DurationMicros = uint64(400 * (1 + r.ExpFloat64()*2))
		e.TTFBMicros = e.DurationMicros - uint64(r.IntN(60))
		switch v := r.IntN(1000); {
		case v < 40:
			e.Status = 404
		case v < 45:
			e.Status, e.ErrorType = 502, []byte("connect_refused")
		case v < 150:
			e.Method, e.Status, e.RequestBytes = []byte("POST"), 201, uint64(100+r.IntN(900))
		}
		if traceIDs {
			e.TraceID = fmt.Appendf(nil, "%016x%016x", r.Uint64(), r.Uint64())
		}
		items[i] = memItem{seq: firstSeq + uint64(i), label: label, event: e}
	}
	return items
}

func appendClient(dst []byte, n uint64) []byte {
	n = n * 2_654_435_761 % (1 << 24) // scattered over the address space
	return fmt.Appendf(dst, "%d.%d.%d.0", 1+n>>16, n>>8&255, n&255)
}

// plainEvents makes n small events within one hour.
func plainEvents(n int, start time.Time, firstSeq uint64) []memItem {
	items := make([]memItem, n)
	for i := range items {
		items[i] = memItem{seq: firstSeq + uint64(i), label: "/users/{id}", event: event.Event{
			TimeMicros: start.UnixMicro() + int64(i), Kind: event.KindRequest, Status: 200, Method: []byte("GET"),
			Host: []byte("example.com"), Path: fmt.Appendf(nil, "/users/%d", i),
		}}
	}
	return items
}

func dropEvent(seq uint64, at time.Time, reason string, count uint64) memItem {
	return memItem{seq: seq, event: event.Event{
		TimeMicros: at.UnixMicro(), Kind: event.KindDrop, ErrorType: []byte(reason), RequestBytes: count,
	}}
}
