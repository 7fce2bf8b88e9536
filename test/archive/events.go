package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
)

// epoch is the epoch of all generated events.
var epoch = uuid.MustParse("0198c0de-0000-7000-8000-00000000a001")

// monday is the start of the generated traffic.
var monday = time.Date(2026, 3, 16, 0, 0, 0, 0, time.UTC)

// maker generates events like those that the sidecar of a web shop would record: 300 routes, ids in paths, and client networks truncated
// to /24, all with Zipf distributions; exponential latencies; a few errors. The same seed and the same first number give the same events.
type maker struct {
	seed     uint64
	traceIDs bool
	perEvent time.Duration // time between two events, on average
}

// batch generates n events, starting with a sequence number. The first event is at start.
func (m maker) batch(first uint64, n int, start time.Time) *store.Batch {
	r := rand.New(rand.NewPCG(m.seed, first))
	routes := rand.NewZipf(r, 1.2, 4, 299)
	ids, clients := rand.NewZipf(r, 1.1, 10, 49_999), rand.NewZipf(r, 1.1, 10, 4_999)
	b := &store.Batch{Epoch: epoch, LastSeq: first + uint64(n) - 1, Items: make([]store.Item, n)}
	at := start.UnixMicro()
	for i := range b.Items {
		it := &b.Items[i]
		at += int64(r.ExpFloat64() * float64(m.perEvent.Microseconds()))
		route := routes.Uint64()
		it.Seq, it.Host, it.Method = first+uint64(i), "shop.example.com", "GET"
		it.Label = fmt.Sprintf("/api/v1/section-%d/list", route)
		path := it.Label
		if route%3 != 0 {
			it.Label = fmt.Sprintf("/api/v1/things-%d/{id}", route)
			path = fmt.Sprintf("/api/v1/things-%d/%d", route, ids.Uint64()*7919%50_000)
		}
		e := &it.Event
		*e = event.Event{
			TimeMicros: at, Kind: event.KindRequest, Status: 200, Method: []byte("GET"), Host: []byte("shop.example.com"),
			Path: []byte(path), Upstream: []byte("127.0.0.1:8080"), Protocol: []byte("1.1"),
			Client: client(clients.Uint64()), ResponseBytes: 200 + route*97,
		}
		e.DurationMicros = uint64(400 * (1 + r.ExpFloat64()*2))
		e.TTFBMicros = e.DurationMicros - uint64(r.IntN(60))
		switch v := r.IntN(1000); {
		case v < 40:
			e.Status = 404
		case v < 45:
			e.Status, e.ErrorType = 502, []byte("connect_refused")
		case v < 150:
			e.Method, it.Method, e.Status, e.RequestBytes = []byte("POST"), "POST", 201, uint64(100+r.IntN(900))
		}
		if m.traceIDs {
			e.TraceID = fmt.Appendf(nil, "%016x%016x", r.Uint64(), r.Uint64())
		}
	}
	return b
}

func client(n uint64) []byte {
	n = n * 2_654_435_761 % (1 << 24) // spreads the numbers over the address space
	return fmt.Appendf(nil, "%d.%d.%d.0", 1+n>>16, n>>8&255, n&255)
}
