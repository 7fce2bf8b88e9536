package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// shop is the application. Usually, one in 500 of its responses is an error.
type shop struct {
	url      string
	server   *http.Server
	checkout atomic.Uint64 // share of the requests to /checkout that fail, in millionths
	pace     float64       // factor by which all times are multiplied; set before the first request
	patience time.Duration // time after which a failing checkout gives up, besides the usual time; set before the first request
}

const (
	millionths  = 1e6
	usualErrors = 2000 // millionths
)

func openShop() (*shop, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &shop{url: "http://" + ln.Addr().String(), pace: 1}
	s.checkout.Store(usualErrors)
	s.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: s}
	go func() { _ = s.server.Serve(ln) }()
	return s, nil
}

func (s *shop) close() { _ = s.server.Close() }

// fail makes a share of the requests to /checkout fail from now on.
func (s *shop) fail(share float64) { s.checkout.Store(uint64(share * millionths)) }

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	failed := uint64(usualErrors)
	wait := 1 + 2*rand.ExpFloat64() // ms
	switch {
	case r.URL.Path == "/checkout":
		failed = s.checkout.Load()
		wait += 6
	case r.URL.Path == "/search":
		wait += 4
	case strings.HasPrefix(r.URL.Path, "/assets/"):
		failed, wait = 0, 0.5
	}
	time.Sleep(time.Duration(min(wait, 40) * s.pace * float64(time.Millisecond)))
	if rand.Uint64N(millionths) < failed {
		if r.URL.Path == "/checkout" {
			time.Sleep(s.patience)
		}
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, strings.Repeat("The corner shop. ", 60))
}

// client sends the requests of the shop's customers.
type client struct {
	base      string
	http      http.Client
	checkouts int // of a hundred requests
}

func newClient(base string) *client {
	return &client{base, http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: connections}}, 1}
}

const connections = 48

// request chooses a random request according to the shares of the traffic.
func (c *client) request(ctx context.Context) (*http.Request, error) {
	n := rand.IntN(100)
	method, path := http.MethodGet, "/"
	switch {
	case n < c.checkouts:
		method, path = http.MethodPost, "/checkout"
	case n < 27:
		path = fmt.Sprintf("/items/%d", 1+rand.IntN(9000))
	case n < 42:
		path = "/search"
	case n < 54:
		path = fmt.Sprintf("/users/%d", 1+rand.IntN(90000))
	case n < 60:
		method, path = http.MethodPost, "/cart"
	case n < 75:
		path = "/assets/app.js"
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, http.NoBody)
	if err == nil {
		r.Host = "shop.example"
	}
	return r, err
}

func (c *client) one(ctx context.Context) error {
	r, err := c.request(ctx)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return err
}

// send sends a number of requests as fast as possible.
func (c *client) send(ctx context.Context, requests int) error {
	var left atomic.Int64
	left.Store(int64(requests))
	var group sync.WaitGroup
	failures := make(chan error, connections)
	for range connections {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				if err := c.one(ctx); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	group.Wait()
	select {
	case err := <-failures:
		return err
	default:
		return nil
	}
}

// steadily sends requests at random times, at an average rate per second, until ctx is done.
func (c *client) steadily(ctx context.Context, rate int) {
	for next := time.Now(); ctx.Err() == nil; {
		next = next.Add(time.Duration(rand.ExpFloat64() / float64(rate) * float64(time.Second)))
		time.Sleep(time.Until(next))
		go func() { _ = c.one(ctx) }()
	}
}
