package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool"
)

// unique writes events with different paths, and then the events of the routes, into a spool. The spool looks as if a traffic process had
// been killed. A real wayside then finds this spool and drains it.
func unique(ctx context.Context, dir string, o options) (string, error) {
	if o.requests == 0 {
		o.requests = 10_000_000
	}
	total, err := fillSpool(ctx, filepath.Join(dir, "data", "spool"), o)
	if err != nil {
		return "", err
	}
	r, err := startRig(ctx, dir, o)
	if err != nil {
		return "", err
	}
	defer r.stop()
	first, err := checkTable(ctx, r.w, total)
	r.memory.stop()
	took := time.Since(r.began)
	flat, flatErr := r.memory.flat()
	return fmt.Sprintf("%d responses of %d paths, drained at %.0f a second; %d rows shown, a route has %d to %d of its %d responses; PSS: %s",
		total, o.requests+routesMany, float64(total)/took.Seconds(), first.Rows, first.least, first.most, routeTimes, flat), errors.Join(err, flatErr)
}

// fillSpool appends the events of all requests and returns their number.
func fillSpool(ctx context.Context, dir string, o options) (uint64, error) {
	s, err := spool.Open(spool.Options{Dir: dir, QueueBytesMax: 8 << 30, Segments: 32})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	err = appendAll(ctx, s, o)
	if err == nil {
		err = s.Flush(ctx)
	}
	cancel()
	if runErr := <-done; err == nil && !errors.Is(runErr, context.Canceled) {
		err = runErr
	}
	return o.requests + routesMany*routeTimes, errors.Join(err, s.Close())
}

// flushEvery is much less than the capacity of the journal.
const flushEvery = 50_000

func appendAll(ctx context.Context, s *spool.Set, o options) error {
	var path []byte
	for i := range o.requests + routesMany*routeTimes {
		if path = path[:0]; i < o.requests {
			path = randomPath(path, o.seed, i)
		} else {
			path = append(path, route(int(i%routesMany))...)
		}
		e := event.Event{
			TimeMicros: time.Now().UnixMicro(), Kind: event.KindRequest, Status: 200, DurationMicros: 100 + i%1000,
			ResponseBytes: 3, Method: []byte("GET"), Host: []byte("flood.example"), Path: path,
		}
		if i < o.requests && path[len(path)-1]%2 == 0 {
			e.Status = 404
		}
		if _, refusal := s.TryAppend(&e); refusal != spool.Accepted {
			return fmt.Errorf("append event %d: refused: %v", i, refusal)
		}
		if i%flushEvery == 0 { // the journal must never be full: it would then reject events, and these would count as dropped
			if err := s.Flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}
