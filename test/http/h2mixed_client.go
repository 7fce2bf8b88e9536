package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wayside-proxy/wayside/test/h2peer"
)

// http2Way is one kind of request over HTTP/2, with its share in a thousand.
type http2Way struct {
	way
	leave leave
}

// leave is an unusual action of the client on its connection.
type leave uint8

const (
	stay         leave = iota
	leaveGoAway        // sends GOAWAY, opens no further streams, and closes the connection after the last one
	leaveClosing       // closes the connection immediately, with all streams in progress
	tooMuch            // sends more than the declared length
)

// http2Ways lists the kinds of requests. chunks means that the request does not declare the length of its body.
var http2Ways = []http2Way{
	{way{365, "GET", kindPlain, 0, false, abortNever}, stay},
	{way{20, "GET", kindMedium, 0, false, abortNever}, stay},
	{way{50, "HEAD", kindHead, 0, false, abortNever}, stay},
	{way{50, "GET", kind204, 0, false, abortNever}, stay},
	{way{50, "GET", kind304, 0, false, abortNever}, stay},
	{way{60, "GET", kindChunked, 0, false, abortNever}, stay},
	{way{20, "GET", kindLarge, 0, false, abortNever}, stay},
	{way{20, "GET", kindClose, 0, false, abortNever}, stay},
	{way{60, "POST", kindPlain, 2000, false, abortNever}, stay},
	{way{40, "POST", kindPlain, 3000, true, abortNever}, stay},
	{way{30, "POST", kindTrailers, 3000, true, abortNever}, stay},
	{way{20, "GET", kindHints, 0, false, abortNever}, stay},
	{way{20, "PUT", kindPlain, 100, false, abortNever}, stay},
	{way{20, "PATCH", kindPlain, 100, true, abortNever}, stay},
	{way{20, "DELETE", kindPlain, 0, false, abortNever}, stay},
	{way{5, "POST", kindPlain, 100_000, false, abortNever}, stay},
	{way{5, "POST", kindPlain, 100_000, true, abortNever}, stay},
	{way{5, "POST", kindEarly, 300_000, true, abortNever}, stay},
	{way{10, "GET", kindTruncate, 0, false, abortNever}, stay},
	{way{5, "GET", kindCut, 0, false, abortNever}, stay},
	{way{10, "GET", kindReset, 0, false, abortNever}, stay},
	{way{5, "POST", kindReset, 10, false, abortNever}, stay},
	{way{10, "GET", kindResetMid, 0, false, abortNever}, stay},
	{way{15, "GET", kindRefused, 0, false, abortNever}, stay},
	{way{5, "POST", kindRefused, 2000, false, abortNever}, stay},
	{way{2, "GET", kindGoAway, 0, false, abortNever}, stay},
	{way{2, "POST", kindGoAway, 2000, false, abortNever}, stay},
	{way{3, "PUT", kindStale, 50, false, abortNever}, stay},
	{way{5, "GET", kindStale, 0, false, abortNever}, stay},
	{way{1, "GET", kindDie, 0, false, abortNever}, stay},
	{way{15, "GET", kindPlain, 0, false, abortWaiting}, stay},
	{way{10, "POST", kindPlain, 50, false, abortWaiting}, stay},
	{way{15, "GET", kindLarge, 0, false, abortReading}, stay},
	{way{15, "POST", kindPlain, 100_000, false, abortSending}, stay},
	{way{5, "POST", kindPlain, 200, false, abortNever}, tooMuch},
	{way{5, "GET", kindPlain, 0, false, abortNever}, leaveGoAway},
	{way{2, "POST", kindPlain, 2000, false, abortNever}, leaveClosing},
}

// http2Client sends each nonce once over HTTP/2 and checks the response.
type http2Client struct {
	mixedClient
	options  h2peer.Options
	excused  atomic.Uint64 // responses with 502, or cut off, because the origin ended its connection with other streams
	repeated atomic.Uint64 // requests that were sent again, because wayside reported that it had not processed them
	dials    atomic.Uint64
}

func newHTTP2Client(addr string, nonces, seed uint64, o h2peer.Options) *http2Client {
	c := &http2Client{options: o}
	c.addr, c.nonces, c.seed = addr, nonces, seed
	c.status, c.aborted = make([]uint16, nonces), make([]bool, nonces)
	return c
}

func (c *http2Client) choose(nonce uint64) http2Way {
	if nonce%timeoutsEvery == timeoutsEvery-1 {
		return http2Way{way{0, "GET", kindTimeout, 0, false, abortNever}, stay}
	}
	at := int(rand.New(rand.NewPCG(c.seed, nonce)).Uint64N(1000))
	for _, w := range http2Ways {
		if at -= w.share; at < 0 {
			return w
		}
	}
	return http2Ways[0]
}

// upstream returns the upstream of a nonce: the route that its path begins with.
func (c *http2Client) upstream(nonce uint64) string {
	return []string{"h1", "h2c", "h2"}[rand.New(rand.NewPCG(c.seed, nonce+c.nonces)).IntN(3)]
}

const (
	// failuresMost is the number of unexpected responses after which the client gives up, because each of them may take as long as the
	// time limit of a stream.
	failuresMost = 20
	// triesMost is the maximum number of times that the client opens a connection for a stream, and that it sends a request that was not
	// processed.
	triesMost = 100
)

func (c *http2Client) gaveUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.crossed+c.failed >= failuresMost
}

// run sends everything over n connections at the same time, unless it gives up.
func (c *http2Client) run(ctx context.Context, n int) {
	c.began = time.Now()
	var workers sync.WaitGroup
	for i := range n {
		slot := &http2Slot{c: c, options: c.options}
		if i%2 == 0 {
			slot.options.Window = 65535
		}
		for range streamsPerConnection {
			workers.Go(func() {
				for nonce := c.next.Add(1) - 1; nonce < c.nonces && !c.gaveUp(); nonce = c.next.Add(1) - 1 {
					slot.request(ctx, nonce, c.choose(nonce))
				}
			})
		}
		defer func() {
			if slot.conn != nil {
				slot.conn.Close()
			}
		}()
	}
	workers.Wait()
}

// http2Slot holds one connection at a time, which several workers share.
type http2Slot struct {
	c       *http2Client
	options h2peer.Options
	left    sync.Map // *h2peer.Conn → true: connections that the client has closed with streams in progress

	mu   sync.Mutex
	conn *h2peer.Conn // guarded by mu
}

// open opens a stream, on a new connection if the current one accepts no more.
func (s *http2Slot) open(ctx context.Context, fields []hpack.HeaderField, end bool) (*h2peer.Stream, error) {
	for range triesMost {
		s.mu.Lock()
		conn := s.conn
		if conn == nil {
			limited, cancel := context.WithTimeout(ctx, time.Minute)
			var err error
			conn, err = h2peer.Dial(limited, s.c.addr, s.options)
			cancel()
			if err != nil {
				s.mu.Unlock()
				return nil, err
			}
			s.c.dials.Add(1)
			s.conn = conn
		}
		s.mu.Unlock()
		stream, err := conn.Open(fields, end)
		if err == nil {
			return stream, nil
		}
		s.drop(conn) // nothing was sent
	}
	return nil, fmt.Errorf("none of %d connections accepts the stream", triesMost)
}

func (s *http2Slot) drop(conn *h2peer.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == conn {
		s.conn = nil
	}
}

// request sends a request, and sends it again (at most triesMost times in all) if the server did not process it.
func (s *http2Slot) request(ctx context.Context, nonce uint64, w http2Way) {
	for range triesMost {
		stream, r, err := s.once(ctx, nonce, w)
		switch {
		case stream == nil:
			s.c.report(false, nonce, w.way, "%v", err)
			return
		case errors.Is(err, h2peer.ErrNotProcessed):
			s.c.repeated.Add(1)
			s.drop(stream.Conn)
			continue
		}
		if _, ok := s.left.Load(stream.Conn); ok && err != nil {
			s.c.aborted[nonce] = true
		}
		if s.c.status[nonce] = uint16(r.Status); !s.c.aborted[nonce] {
			s.c.checkHTTP2(nonce, w, r, err)
		}
		return
	}
	s.c.report(false, nonce, w.way, "not processed in %d attempts", triesMost)
}

// once sends a request, and aborts the request if w requires that. stream is nil if the request was not sent.
func (s *http2Slot) once(ctx context.Context, nonce uint64, w http2Way) (stream *h2peer.Stream, r h2peer.Response, err error) {
	id := strconv.FormatUint(nonce, 10)
	body := ""
	path := "/" + s.c.upstream(nonce) + "/n/" + id + "?k=" + w.kind
	if w.kind == kindTimeout { // only these routes have a short time limit: on a busy machine, any response can take seconds
		path = "/timeout" + path
	}
	fields := h2peer.Fields(":method", w.method, ":scheme", "http", ":authority", "mixed.example", ":path", path)
	if w.body > 0 {
		body = repeat(id, w.body)
		if !w.chunks {
			fields = append(fields, hpack.HeaderField{Name: "content-length", Value: strconv.Itoa(len(body))})
		}
	}
	stream, err = s.open(ctx, fields, body == "")
	if err != nil {
		return nil, r, err
	}
	switch {
	case w.abort == abortSending:
		s.c.aborted[nonce] = true
		_ = stream.Send(body[:len(body)/2], false)
		stream.Reset(http2.ErrCodeCancel)
		return stream, r, nil
	case w.leave == tooMuch:
		s.c.aborted[nonce] = true
		body += "more"
	}
	trailers := w.kind == kindTrailers
	if body != "" && stream.Send(body, !trailers) == nil && trailers {
		stream.Headers(h2peer.Fields("x-end", id), true)
	}
	switch {
	case w.abort == abortWaiting:
		s.c.aborted[nonce] = true
		stream.Reset(http2.ErrCodeCancel)
		return stream, r, nil
	case w.leave == leaveGoAway:
		s.drop(stream.Conn)
		stream.Conn.GoAway(0, http2.ErrCodeNo)
	case w.leave == leaveClosing:
		s.left.Store(stream.Conn, true)
		s.drop(stream.Conn)
		stream.Conn.Close()
	case w.abort == abortReading:
		s.c.aborted[nonce] = true
		r, _ = stream.Header()
		_, _ = io.CopyN(io.Discard, stream, 10_000)
		stream.Reset(http2.ErrCodeCancel)
		return stream, r, nil
	}
	r, err = stream.Response()
	return stream, r, err
}

// checkHTTP2 compares a response with the expected one. The responses of the HTTP/1.1 origin differ for some kinds.
func (c *http2Client) checkHTTP2(nonce uint64, w http2Way, r h2peer.Response, err error) {
	id, upstream := strconv.FormatUint(nonce, 10), c.upstream(nonce)
	if r.Status == 0 {
		c.report(false, nonce, w.way, "no response: %v", err)
		return
	}
	if got := h2peer.Value(r.Header, "x-nonce"); got != id && (got != "" || r.Status < 500) {
		c.report(true, nonce, w.way, "x-nonce %q with status %d", got, r.Status)
		return
	}
	want, wantBody, cut := c.expected(id, upstream, w)
	switch {
	case r.Status == 502 && cut:
		return // the response ended within its header
	case r.Status == 502 && want != 502 && upstream == "h1" && w.method != "GET" && w.method != "HEAD":
		return // a persistent connection died, and the request must not be resent
	case upstream != "h1" && want != 502 && (r.Status == 502 || err != nil && !cut && strings.HasPrefix(wantBody, r.Body)):
		c.excused.Add(1) // the origin has ended the connection; see verdict
	case r.Status != want:
		c.report(false, nonce, w.way, "to %s: status %d, want %d", upstream, r.Status, want)
	case want >= 500:
	case cut && (err == nil || !strings.HasPrefix(wantBody, r.Body)):
		c.report(err != nil, nonce, w.way, "to %s: %d bytes, error %v", upstream, len(r.Body), err)
	case !cut && (err != nil || r.Body != wantBody):
		c.report(err == nil, nonce, w.way, "to %s: body %.40q of %d bytes, want %d: %v", upstream, r.Body, len(r.Body), len(wantBody), err)
	case upstream != "h1" && w.kind == kindTrailers && (h2peer.Value(r.Trailers, "x-end") != id || h2peer.Value(r.Header, "x-trailer") != id):
		c.report(true, nonce, w.way, "to %s: trailers %v, the origin has received %q", upstream, r.Trailers, h2peer.Value(r.Header, "x-trailer"))
	case upstream != "h1" && w.kind == kindHints && len(r.Interim) != 1:
		c.report(false, nonce, w.way, "to %s: interim responses %v", upstream, r.Interim)
	}
}

// expected returns the expected status and body, and whether the response is cut off.
func (c *http2Client) expected(id, upstream string, w http2Way) (status int, body string, cut bool) {
	switch w.kind {
	case kindHead:
		return 200, "", false
	case kind204:
		return 204, "", false
	case kind304:
		return 304, "", false
	case kindChunked:
		return 200, id + ".", false
	case kindMedium:
		return 200, repeat(id, mediumBytes), false
	case kindLarge:
		return 200, repeat(id, largeBytes), false
	case kindTruncate, kindReset:
		return 502, "", false
	case kindTimeout:
		return 504, "", false
	case kindCut:
		return 200, repeat(id, largeBytes), true
	case kindResetMid:
		return 200, "ab", true
	}
	switch {
	case w.kind == kindDie && upstream != "h1":
		return 502, "", false
	case w.kind == kindEarly && upstream != "h1":
		return 413, id, false
	case w.kind == kindStale && upstream == "h1", w.body == 0:
		return 200, id, false
	}
	return 200, id + repeat(id, w.body), false
}
