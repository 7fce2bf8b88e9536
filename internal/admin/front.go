package admin

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Document is what GET /snapshot answers at the moment. Its slices are never written to.
type Document struct {
	ETag        string // with its quotes
	Plain, Gzip []byte
}

// front answers the one request that pollers send all day, a plain GET /snapshot, by itself: one read, one write of bytes
// that were rendered before, no allocation. It takes only what it understands to the last byte: a connection that sends
// anything else, be it one unknown header field that matters or half a request, is handed to net/http with everything it
// has sent, and stays there. So net/http alone decides whatever is not entirely ordinary; a test compares the two.
type front struct {
	opt      *Options
	log      *slog.Logger
	listener *handover
	rendered atomic.Pointer[rendered]
	idle     time.Duration // between requests, and for a client that does not read
	silent   time.Duration // before the first request
	grace    time.Duration // for what is being sent at the end

	mu     sync.Mutex
	loops  []*frontLoop // guarded by mu
	next   int          // loop that the last connection went to; guarded by mu
	closed bool         // guarded by mu
	done   sync.WaitGroup
}

// rendered are complete responses for one document and one second.
type rendered struct {
	etag      string
	second    int64
	responses [3]*response // by kind
}

// kind is which of its responses a document is answered with.
type kind int

const (
	plainBody kind = iota
	gzipBody
	notModified
)

const (
	frontBytesMax = 4 << 10 // longest request that is answered here
	frontIdle     = 2 * time.Minute
	frontSilent   = 10 * time.Second
)

func newFront(o *Options, addr net.Addr, grace time.Duration) *front {
	return &front{
		opt: o, log: o.Logger, idle: frontIdle, silent: frontSilent, grace: grace,
		listener: &handover{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})},
	}
}

// Serve answers on ln until ctx is done, then lets running requests finish for at most grace. What [Serve] says of connections
// holds here too.
func (s *Server) Serve(ctx context.Context, ln net.Listener, grace time.Duration) error {
	if s.opt.Latest == nil {
		return Serve(ctx, ln, s.Handler(), grace, s.opt.Logger)
	}
	f := newFront(&s.opt, ln.Addr(), grace)
	places := newPlaces(ln, s.opt.Logger)
	accepting := make(chan struct{})
	go func() { defer close(accepting); f.accept(places) }()
	stop := context.AfterFunc(ctx, f.end) // while net/http finishes what it is at
	defer stop()
	err := serve(ctx, f.listener, s.Handler(), grace, s.opt.Logger)
	_ = places.Close()
	_ = f.listener.Close()
	<-accepting
	f.end()
	f.done.Wait()
	return err
}

// accept takes connections until ln is closed. An error that passes, such as too many open files, is waited out.
func (f *front) accept(ln *places) {
	for {
		conn, err := ln.accept()
		if err == nil {
			if l := f.loopFor(); l == nil || !l.take(conn) {
				f.done.Go(func() { f.hand(conn) })
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			_ = f.listener.Close()
			return
		}
		if ln.mayTell() {
			f.log.Warn("accept on the admin listener", "error", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// end has the loops close the connections that are still here, and begins no other loop.
func (f *front) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	for _, l := range f.loops {
		l.end()
	}
}

var requestLine = []byte("GET /snapshot HTTP/1.1\r\n")

// answer returns which response is for a request for the document with this tag; head is the request's header, without the
// empty line. mine is false if it is not for this place to answer.
func (f *front) answer(head []byte, etag string) (which kind, mine bool) {
	rest, ok := bytes.CutPrefix(head, requestLine)
	if !ok {
		return 0, false
	}
	var host, encoding, tag, token []byte
	for len(rest) > 0 {
		var line []byte
		line, rest, ok = bytes.Cut(rest, []byte("\r\n"))
		name, value, colon := bytes.Cut(line, []byte(":"))
		if !ok || !colon || !plain(name, value) {
			return 0, false
		}
		value = bytes.Trim(value, " \t")
		switch field := fieldOf(name); field {
		case fieldHarmless:
		case fieldHost, fieldEncoding, fieldTag, fieldToken:
			at := []*[]byte{fieldHost: &host, fieldEncoding: &encoding, fieldTag: &tag, fieldToken: &token}[field]
			if *at != nil || len(value) == 0 {
				return 0, false
			}
			*at = value
		default:
			return 0, false
		}
	}
	if host == nil || !hostLike(host) || !f.welcome(host, token) {
		return 0, false // net/http says what is wrong
	}
	switch {
	case tag != nil && string(tag) == etag:
		return notModified, true
	case tag != nil && (bytes.ContainsAny(tag, ",*") || bytes.HasPrefix(tag, []byte("W/"))):
		return 0, false
	case encoding == nil:
		return plainBody, true
	case string(encoding) == "gzip" || bytes.HasPrefix(encoding, []byte("gzip, ")) && !bytes.ContainsAny(encoding, ";*"):
		return gzipBody, true
	}
	return 0, false
}

// plain reports whether a header field is written as nearly all are: a token, no line that continues, no control.
func plain(name, value []byte) bool {
	if len(name) == 0 {
		return false
	}
	for _, c := range name {
		if c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// Fields of a request by what they mean here.
const (
	fieldUnknown = iota
	fieldHarmless
	fieldHost
	fieldEncoding
	fieldTag
	fieldToken
)

// fieldOf knows the fields that have a meaning for a snapshot, and those that have none. Every other one, Connection and
// everything about bodies above all, is for net/http.
func fieldOf(name []byte) int {
	for _, known := range [...]struct {
		name  string
		field int
	}{
		{"host", fieldHost},
		{"accept-encoding", fieldEncoding},
		{"if-none-match", fieldTag},
		{"authorization", fieldToken},
		{"user-agent", fieldHarmless},
		{"accept", fieldHarmless},
		{"accept-language", fieldHarmless},
		{"cookie", fieldHarmless},
		{"referer", fieldHarmless},
		{"x-request-id", fieldHarmless},
		{"traceparent", fieldHarmless},
	} {
		if len(name) == len(known.name) && bytes.EqualFold(name, []byte(known.name)) {
			return known.field
		}
	}
	return fieldUnknown
}

// welcome is guard for requests in which nothing is unusual.
func (f *front) welcome(host, token []byte) bool {
	if f.opt.Token != "" {
		given, ok := bytes.CutPrefix(token, []byte("Bearer "))
		if !ok || !sameToken(given, f.opt.Token) {
			return false
		}
	}
	return ordinaryHost(host) || hostAllowed(string(host), f.opt.Hosts)
}

// hostLike leaves whatever is not a name or an address with a port to net/http.
func hostLike(host []byte) bool {
	for _, c := range host {
		if !bytes.ContainsRune([]byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]"), rune(c)) {
			return false
		}
	}
	return true
}

// ordinaryHost recognises what most requests have without making a string of it.
func ordinaryHost(host []byte) bool {
	name, port, _ := bytes.Cut(host, []byte(":"))
	return (string(name) == "127.0.0.1" || string(name) == "localhost") && bytes.IndexByte(port, ':') < 0
}

// render returns the responses for the present document and second, nil while there is no document.
func (f *front) render(now time.Time) *rendered {
	d, ok := f.opt.Latest()
	if !ok {
		return nil
	}
	second := now.Unix()
	if r := f.rendered.Load(); r != nil && r.second == second && r.etag == d.ETag {
		return r
	}
	r := &rendered{etag: d.ETag, second: second}
	common := "Cache-Control: no-cache\r\nEtag: " + d.ETag + "\r\nReferrer-Policy: no-referrer\r\nVary: Accept-Encoding\r\n" +
		"X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nDate: " + now.UTC().Format(http.TimeFormat) + "\r\n"
	full := func(extra string, body []byte) *response {
		head := "HTTP/1.1 200 OK\r\n" + common + "Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n" + extra + "\r\n"
		return newResponse(append(append(make([]byte, 0, len(head)+len(body)), head...), body...))
	}
	r.responses[plainBody] = full("", d.Plain)
	r.responses[gzipBody] = full("Content-Encoding: gzip\r\n", d.Gzip)
	r.responses[notModified] = newResponse([]byte("HTTP/1.1 304 Not Modified\r\n" + common + "\r\n"))
	f.rendered.Store(r)
	return r
}

// handover is the listener from which net/http takes connections that front passes on.
type handover struct {
	addr   net.Addr
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *handover) Addr() net.Addr { return h.addr }

// replayed is a connection that gives what was read from it once more.
type replayed struct {
	net.Conn
	sent []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.sent) > 0 {
		n := copy(p, r.sent)
		r.sent = r.sent[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}
