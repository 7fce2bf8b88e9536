package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/e2e"
)

// mixed proves that no response reaches the wrong request, that no unsafe request is sent twice, and that the books agree.
func mixed(ctx context.Context, r *rig, requests, seed uint64) (string, error) {
	origin, err := startMixedOrigin(requests)
	if err != nil {
		return "", err
	}
	defer origin.stop()
	r.env = append(r.env, "WAYSIDE_PROXY_RESPONSE_TIMEOUT=2s")
	if err := r.start(ctx, origin.url()); err != nil {
		return "", err
	}
	client := newMixedClient(r.wayside.Listen, requests, seed)
	client.run(64)
	took := time.Since(client.began)
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if client.crossed > 0 || client.failed > 0 {
		fail("%d responses reached another request, %d are unexpected: %s", client.crossed, client.failed, strings.Join(client.wrong, "; "))
	}
	replays, repeats := 0, 0
	for nonce := range origin.arrived {
		n := origin.arrived[nonce].Load()
		if n < 2 {
			continue
		}
		w := client.choose(uint64(nonce))
		if repeats++; w.method != "GET" && w.method != "HEAD" || n > 2 {
			replays++
		}
	}
	if replays > 0 {
		fail("%d requests were replayed although they are not safe", replays)
	}
	missing, err := client.compareBooks(ctx, r)
	if err != nil {
		errs = append(errs, err)
	}
	aborted := 0
	for _, a := range client.aborted {
		if a {
			aborted++
		}
	}
	m := fmt.Sprintf("%d requests in %v (%.0f/s), %d aborted by the client (%d of them before wayside had their header), %d safe repeats, crossed %d, replays %d",
		requests, took.Round(100*time.Millisecond), float64(requests)/took.Seconds(), aborted, missing, repeats, client.crossed, replays)
	return m, errors.Join(errs...)
}

// compareBooks looks up each nonce in the archive. A response that the client received must be there once, with the same status. A
// request that the client aborted may be there at most once. compareBooks returns the number of aborted requests that are missing.
func (c *mixedClient) compareBooks(ctx context.Context, r *rig) (missing int, err error) {
	lines := make([]uint8, c.nonces)
	var errs []error
	fail := func(format string, args ...any) {
		if len(errs) < 10 {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	books, accounting, err := r.books(ctx, func(l e2e.Line) {
		nonce, ok := load.Nonce([]byte(l.Path))
		if !ok || nonce >= c.nonces {
			return
		}
		lines[nonce]++
		saw := int(c.status[nonce])
		switch {
		case c.aborted[nonce]:
		case l.Status != saw:
			fail("nonce %d: the client received %d, the books have %d %s", nonce, saw, l.Status, l.Error)
		case (l.Kind == "stream") != (saw == 101):
			fail("nonce %d: status %d is recorded as %s", nonce, saw, l.Kind)
		}
	})
	if err != nil {
		return 0, err
	}
	for nonce, n := range lines {
		switch {
		case n == 0 && c.aborted[nonce]:
			missing++
		case n != 1:
			fail("nonce %d is in the books %d times; the client received %d", nonce, n, c.status[nonce])
		}
	}
	if err := accounting.Check(); err != nil {
		errs = append(errs, err)
	}
	if books.Lines != accounting.Applied || accounting.DroppedTotal() > 0 {
		fail("%d lines in the archive, %d applied, dropped %v", books.Lines, accounting.Applied, accounting.Dropped)
	}
	return missing, errors.Join(errs...)
}
