package main

import (
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/h2peer"
)

// The kinds of requests that only an HTTP/2 origin serves in a special way. For the HTTP/1.1 origin, they are ordinary requests.
const (
	kindRefused  = "refused"  // the stream is refused once, and served when it is repeated
	kindGoAway   = "goaway"   // GOAWAY excludes the stream; it is served when it is repeated
	kindDie      = "die"      // the connection ends with all its streams
	kindEarly    = "early"    // a response before the body, of which the rest is not read
	kindTrailers = "trailers" // trailers after the body
	kindHints    = "hints"    // an interim response
)

// http2Origin is the HTTP/2 counterpart of mixedOrigin: it sends the kind of response that the query requests, puts the nonce into every part
// of it, and counts how many times it has processed each request.
type http2Origin struct {
	arrived []atomic.Uint32 // by nonce: number of requests that began and that the origin did not refuse
	refused []atomic.Uint32 // by nonce: number of requests that it refused with REFUSED_STREAM or GOAWAY
	died    atomic.Uint64   // connections that were ended with streams in progress
	server  *h2peer.Server
}

func startHTTP2Origin(nonces uint64, o h2peer.Options) (*http2Origin, error) {
	origin := &http2Origin{arrived: make([]atomic.Uint32, nonces), refused: make([]atomic.Uint32, nonces)}
	var err error
	origin.server, err = h2peer.Serve(o, origin.admit, origin.answer)
	return origin, err
}

// request returns the nonce and the kind of a request.
func (o *http2Origin) request(fields []hpack.HeaderField) (nonce uint64, kind string, ok bool) {
	path, query, _ := strings.Cut(h2peer.Value(fields, ":path"), "?")
	nonce, ok = load.Nonce([]byte(path))
	return nonce, strings.TrimPrefix(query, "k="), ok && nonce < uint64(len(o.arrived))
}

// admit decides whether a stream is processed.
func (o *http2Origin) admit(s *h2peer.Stream, fields []hpack.HeaderField) bool {
	nonce, kind, ok := o.request(fields)
	if !ok {
		return true // a health check
	}
	if (kind == kindRefused || kind == kindGoAway) && o.refused[nonce].Add(1) == 1 {
		if kind == kindRefused {
			s.Reset(http2.ErrCodeRefusedStream)
		} else {
			s.Conn.GoAway(max(s.ID, 2)-2, http2.ErrCodeNo)
		}
		return false
	}
	o.arrived[nonce].Add(1)
	return true
}

// answer sends a response.
func (o *http2Origin) answer(s *h2peer.Stream, fields []hpack.HeaderField) {
	number, kind, _ := o.request(fields)
	nonce := strconv.FormatUint(number, 10)
	head := func(more ...string) []hpack.HeaderField {
		return h2peer.Fields(append([]string{":status", "200", "x-nonce", nonce}, more...)...)
	}
	if kind == kindEarly {
		s.Headers(h2peer.Fields(":status", "413", "x-nonce", nonce), false)
		_ = s.Send(nonce, true)
		return
	}
	body, err := io.ReadAll(s)
	if err != nil {
		return // the request is incomplete
	}
	fixed := func(text string) {
		s.Headers(head("content-length", strconv.Itoa(len(text))), false)
		_ = s.Send(text, true)
	}
	switch kind {
	case kindHead:
		s.Headers(head("content-length", "777"), true)
	case kind204, kind304:
		s.Headers(h2peer.Fields(":status", kind, "x-nonce", nonce), true)
	case kindChunked, kindClose:
		s.Headers(head(), false)
		if err := s.Send(nonce, false); err == nil && kind == kindChunked {
			_ = s.Send(".", false)
		}
		_ = s.Send("", true)
	case kindMedium:
		fixed(repeat(nonce, mediumBytes))
	case kindLarge:
		fixed(repeat(nonce, largeBytes))
	case kindTruncate:
		s.Headers(head("content-length", "1000"), false)
		_ = s.Send(nonce, true)
	case kindCut:
		s.Headers(head("content-length", "1000000"), false)
		_ = s.Send(repeat(nonce, largeBytes), false)
	case kindReset:
	case kindResetMid:
		s.Headers(head(), false)
		_ = s.Send("ab", false)
	case kindTimeout:
		_, _ = s.Block() // waits until the proxy gives up
	case kindStale:
		fixed(nonce + string(body))
		s.Conn.Drain()
	case kindDie:
		o.died.Add(1)
		s.Conn.Close()
	case kindTrailers:
		trailer, _ := s.Block()
		s.Headers(head("x-trailer", h2peer.Value(trailer, "x-end")), false)
		if s.Send(nonce+string(body), false) == nil {
			s.Headers(h2peer.Fields("x-end", nonce), true)
		}
	case kindHints:
		s.Headers(h2peer.Fields(":status", "103", "link", "</"+nonce+">"), false)
		fixed(nonce + string(body))
	default:
		fixed(nonce + string(body))
	}
}
