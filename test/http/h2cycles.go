package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wayside-proxy/wayside/test/h2peer"
)

// cycleStreams is the number of requests that a client of steady has in progress on its HTTP/2 connection.
const cycleStreams = 4

// workHTTP2 is like work, over HTTP/2. A stream counts as broken if it has no complete response, unless wayside reports that it has not
// processed the request. Then the client sends the request again over another connection, as a correct client does.
func (s *steady) workHTTP2(keep bool) {
	for !s.stopped() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		conn, err := h2peer.Dial(ctx, s.addr, s.http2.options)
		cancel()
		if err != nil {
			time.Sleep(5 * time.Millisecond) // between two processes, nothing is listening
			continue
		}
		var streams sync.WaitGroup
		for range cycleStreams {
			streams.Go(func() {
				for again := true; again && !s.stopped(); {
					again = s.stream(conn) && keep
				}
			})
		}
		streams.Wait()
		conn.GoAway(0, http2.ErrCodeNo)
	}
}

// stream sends a request and reports whether the connection can be used again.
func (s *steady) stream(conn *h2peer.Conn) bool {
	nonce := s.take()
	fields := h2peer.Fields(":method", "GET", ":scheme", "http", ":authority", "a", ":path", fmt.Sprintf("/n/%d", nonce))
	post := nonce%5 == 0
	if post {
		fields[0].Value = "POST"
	}
	reload := s.reload.Load()
	stream, err := conn.Open(fields, !post)
	if err != nil {
		s.again(nonce) // nothing was sent
		return false
	}
	s.sent.Add(1)
	if post {
		_ = stream.Send("hello", true)
	}
	r, err := stream.Response()
	if errors.Is(err, h2peer.ErrNotProcessed) {
		s.again(nonce)
		return false
	}
	if want := fmt.Sprintf("/n/%d", nonce); err == nil && (r.Status != 200 || r.Body != want) {
		err = fmt.Errorf("status %d with body %.60q", r.Status, r.Body)
	}
	if err == nil {
		err = olderThan(reload, h2peer.Value(r.Header, "x-reload"))
	}
	if err != nil {
		s.mu.Lock()
		s.broken = append(s.broken, fmt.Errorf("nonce %d: %w", nonce, err))
		s.mu.Unlock()
		return false
	}
	s.answered.Set(nonce)
	return true
}

// take returns the nonce of the next request: first those that must be sent again.
func (s *steady) take() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.unsent); n > 0 {
		nonce := s.unsent[n-1]
		s.unsent = s.unsent[:n-1]
		return nonce
	}
	return s.next.Add(1) - 1
}

func (s *steady) again(nonce uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsent = append(s.unsent, nonce)
	s.repeated++
}

func (s *steady) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// echoPathHTTP2 is like echoPath, over HTTP/2 in cleartext.
func echoPathHTTP2() (*h2peer.Server, error) {
	return h2peer.Serve(h2peer.Options{}, nil, func(s *h2peer.Stream, fields []hpack.HeaderField) {
		_, _ = io.Copy(io.Discard, s)
		path := h2peer.Value(fields, ":path")
		if strings.HasSuffix(path, "7") {
			time.Sleep(20 * time.Millisecond)
		}
		s.Headers(h2peer.Fields(":status", "200"), false)
		_ = s.Send(path, true)
	})
}
