package main

import (
	"context"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/e2e"
)

// nonceStep is the distance between the first nonces of successive runs of traffic.
const nonceStep = 1 << 22

// traffic sends nonces through wayside, in several runs if a trial needs them.
type traffic struct {
	sent, received load.Bitmap
	counters       load.Counters
	report         load.Report // sum of all runs that have ended
	next           uint64      // the first nonce of the next run
	step           uint64      // maximum number of requests in a run; 0 means nonceStep
	prefix         string      // prefix of the paths in the next run

	cancel context.CancelFunc
	done   chan error
}

// start sends requests until stop is called. rate is in requests per second; 0 means full speed.
func (t *traffic) start(ctx context.Context, address string, connections int, rate float64) {
	ctx, t.cancel = context.WithCancel(ctx)
	t.done = make(chan error, 1)
	first, step, prefix := t.next, max(t.step, nonceStep), t.prefix
	t.next += step
	go func() {
		r, err := load.Run(ctx, load.Options{
			Address: address, Connections: connections, Rate: rate, FirstNonce: first, Requests: step,
			Sent: &t.sent, Received: &t.received, Counters: &t.counters, Timeout: 20 * time.Second,
			Request: func(nonce uint64, r *load.Request) { r.Path = load.Path(append(r.Path, prefix...), nonce) },
			Verify:  load.ExpectBody(200, []byte(e2e.OriginBody)),
		})
		if r != nil {
			t.add(r)
		}
		t.done <- err
	}()
}

func (t *traffic) add(r *load.Report) {
	t.report.Sent += r.Sent
	t.report.Received += r.Received
	t.report.Completed += r.Completed
	if t.report.Failed == nil {
		t.report.Failed = map[load.Kind]uint64{}
	}
	for k, n := range r.Failed {
		t.report.Failed[k] += n
	}
	t.report.Errors = append(t.report.Errors, r.Errors...)
	t.report.Elapsed += r.Elapsed
}

// stop ends the traffic and waits for the responses in flight.
func (t *traffic) stop() error {
	if t.cancel == nil {
		return nil
	}
	t.cancel()
	t.cancel = nil
	return <-t.done
}

// copyOf copies a bitmap.
func copyOf(b *load.Bitmap) *load.Bitmap {
	out := &load.Bitmap{}
	out.Add(b)
	return out
}
