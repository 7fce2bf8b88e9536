package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	sseClients  = 50
	sseInterval = 10 * time.Millisecond
	sseLimit    = 50 * time.Millisecond
)

// sse measures the time from when the origin writes an event until the client reads it, on many streams at the same time.
func sse(ctx context.Context, r *rig, d time.Duration) (string, error) {
	began := time.Now()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		end := time.Now().Add(d)
		for time.Now().Before(end) {
			if _, err := fmt.Fprintf(w, "data: %d\n\n", time.Since(began)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(sseInterval)
		}
	}))
	defer origin.Close()
	if err := r.start(ctx, origin.URL); err != nil {
		return "", err
	}
	var mu sync.Mutex
	var delays []time.Duration
	var errs []error
	var clients sync.WaitGroup
	for range sseClients {
		clients.Go(func() {
			list, err := follow("http://"+r.wayside.Listen+"/events", began)
			mu.Lock()
			defer mu.Unlock()
			delays = append(delays, list...)
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	clients.Wait()
	if len(delays) == 0 {
		return "", errors.Join(append(errs, errors.New("no event arrived"))...)
	}
	p50, p99 := percentile(delays, 50), percentile(delays, 99)
	if p99 > sseLimit {
		errs = append(errs, fmt.Errorf("p99 is %v, the limit is %v", p99, sseLimit))
	}
	return fmt.Sprintf("%d events on %d streams: origin's write to client's read p50 %v, p99 %v, most %v", len(delays), sseClients,
		p50.Round(time.Microsecond), p99.Round(time.Microsecond), delays[len(delays)-1].Round(time.Microsecond)), errors.Join(errs...)
}

// follow reads one stream to its end.
func follow(url string, began time.Time) (delays []time.Duration, err error) {
	resp, err := http.Get(url) //nolint:noctx // not needed in a proof
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			sent, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return delays, err
			}
			delays = append(delays, time.Since(began)-time.Duration(sent))
		}
	}
	return delays, lines.Err()
}

// percentile sorts the list and returns a percentile of it.
func percentile(list []time.Duration, p int) time.Duration {
	slices.Sort(list)
	return list[min(len(list)*p/100, len(list)-1)]
}
