package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/uploader"
)

// generator generates a day of many instances with the real store and the real uploader. It sets the clock of both.
type generator struct {
	dir      string
	target   uploader.Target
	services int
	perHour  int // number of responses per instance and hour
	paths    int // number of paths per service
	day      time.Time
}

// made describes the data that generate has put into the bucket.
type made struct {
	events, objects, eventBytes uint64
	took                        time.Duration
}

// generate generates the instances [from, to).
func (g *generator) generate(ctx context.Context, from, to int) (made, error) {
	began := time.Now()
	next := make(chan int, to-from)
	for i := from; i < to; i++ {
		next <- i
	}
	close(next)
	var mu sync.Mutex
	var sum made
	var first error
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range next {
				m, err := g.instance(ctx, i)
				mu.Lock()
				sum.events, sum.objects = sum.events+m.events, sum.objects+m.objects
				sum.eventBytes += m.eventBytes
				if first == nil {
					first = err
				}
				stop := first != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	sum.took = time.Since(began)
	return sum, first
}

// instance generates the day of one instance: it applies the events of each hour, and archives each hour after its end.
func (g *generator) instance(ctx context.Context, number int) (m made, err error) {
	dir := filepath.Join(g.dir, fmt.Sprintf("instance-%d", number))
	defer func() { _ = os.RemoveAll(dir) }()
	now, quiet := g.day, slog.New(slog.DiscardHandler)
	clock := func() time.Time { return now }
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, "store"), QuarantineDir: filepath.Join(dir, "quarantine"), ReserveBytes: -1, Now: clock, Logger: quiet,
	})
	if err != nil {
		return m, err
	}
	defer func() { _ = s.Close() }()
	u, err := uploader.New(uploader.Options{
		Source: s, Catalogue: s, Target: g.target,
		Service: fmt.Sprintf("service-%02d", number%g.services), Instance: fmt.Sprintf("pod-%04d", number),
		Now: clock, Elapsed: func() time.Duration { return now.Sub(g.day) }, Logger: quiet,
	})
	if err != nil {
		return m, err
	}
	r := rand.New(rand.NewPCG(uint64(number), 11))
	routes := rand.NewZipf(r, 1.2, 4, uint64(g.paths-1))
	epoch := epochOf(g.day, uint64(number))
	seq := uint64(0)
	for hour := range 24 {
		start := g.day.Add(time.Duration(hour) * time.Hour)
		for done := 0; done < g.perHour; {
			n := min(1000, g.perHour-done)
			b := &store.Batch{Epoch: epoch, Items: make([]store.Item, n)}
			for i := range b.Items {
				seq++
				fill(&b.Items[i], r, routes, number%g.services, seq, start.Add(time.Duration(done+i)*time.Hour/time.Duration(g.perHour)))
			}
			done += n
			b.LastSeq = seq
			now = time.UnixMicro(b.Items[n-1].Event.TimeMicros)
			if err := s.Apply(b); err != nil {
				return m, err
			}
		}
		now = start.Add(2*time.Hour + time.Minute) // archive.after is an hour
		result, err := u.ArchiveOnce(ctx, false)
		if err != nil {
			return m, err
		}
		m.objects += uint64(result.Objects)
		m.events += result.Lines
		m.eventBytes += result.Bytes
	}
	return m, nil
}

// epochOf returns a version 7 UUID for a time.
func epochOf(t time.Time, number uint64) (id uuid.UUID) {
	ms := uint64(t.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6], id[8] = 0x70, 0x80
	for i := range 4 {
		id[12+i] = byte(number >> (24 - 8*i))
	}
	return id
}

// fill sets the fields of one response.
func fill(it *store.Item, r *rand.Rand, routes *rand.Zipf, service int, seq uint64, at time.Time) {
	route := routes.Uint64()
	host := fmt.Sprintf("service-%02d.example", service)
	it.Seq, it.Host, it.Method, it.Label = seq, host, "GET", fmt.Sprintf("/v1/things-%d/{id}", route)
	it.Event = event.Event{
		TimeMicros: at.UnixMicro(), Kind: event.KindRequest, Status: 200, Method: []byte("GET"), Host: []byte(host),
		Path: fmt.Appendf(nil, "/v1/things-%d/%d", route, r.IntN(50_000)), Upstream: []byte("127.0.0.1:8080"), Protocol: []byte("1.1"),
		Client: fmt.Appendf(nil, "10.%d.%d.0", r.IntN(16), r.IntN(256)), ResponseBytes: 200 + route*97,
	}
	e := &it.Event
	e.DurationMicros = uint64(400*(1+r.ExpFloat64()*2)) * (1 + route%7)
	e.TTFBMicros = e.DurationMicros - uint64(r.IntN(60))
	switch v := r.IntN(1000); {
	case v < 40:
		e.Status = 404
	case v < 45:
		e.Status, e.ErrorType = 502, []byte("connect_refused")
	case v < 150:
		e.Method, it.Method, e.Status, e.RequestBytes = []byte("POST"), "POST", 201, uint64(100+r.IntN(900))
	}
}
