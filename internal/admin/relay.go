package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wayside-proxy/wayside/internal/link"
)

// relayedFields are the header fields that the books process uses. No other field is passed on: the token has already been checked, and
// fields must not be able to change where a request ends.
var relayedFields = []string{
	"Accept", "Accept-Encoding", "Accept-Language", "Content-Type", "If-Modified-Since", "If-None-Match", "If-Range", "Last-Event-ID", "Range", "User-Agent",
}

// relay passes the request on to the books process, and passes the response back byte for byte, on a connection that is closed
// afterwards. A request that changes something can take a long time, so the books process must first respond to a ping.
func (q *request) relay() {
	resp := &q.ctx.Response
	if c := q.ctx; !q.reads() && !c.IsPost() && !c.IsPut() && !c.IsPatch() && !c.IsDelete() { // the books process rejects other methods
		resp.Header.Set("Allow", "GET, HEAD, POST")
		refuse(resp, fasthttp.StatusMethodNotAllowed, "the admin endpoint answers GET, HEAD and POST only")
		return
	}
	p := q.s.books.peer.Load()
	if p == nil {
		refuseAway(resp, q.s.away())
		return
	}
	if q.reads() && p.silent.Load() != nil {
		p.startPing() // the next request sees the result
		refuseAway(resp, ErrBooksSilent)
		return
	}
	r := relayed{running: q.running, peer: p, request: q.forward(), head: q.ctx.IsHead(), asks: q.reads(), wait: q.s.books.answer}
	q.takeOver(q.s.relays, r.run)
}

func refuseAway(resp *fasthttp.Response, err error) {
	resp.Header.Set("Retry-After", "1")
	reason := err.Error()
	if !errors.Is(err, ErrBooksAway) && !errors.Is(err, ErrBooksSilent) {
		reason = "the books process does not respond: " + reason
	}
	refuse(resp, fasthttp.StatusServiceUnavailable, reason)
}

// forward formats the request for the books process: as HTTP/1.1, or as HTTP/1.0 if the client does not support chunks.
func (q *request) forward() []byte {
	from := &q.ctx.Request
	body := from.Body()
	version := " HTTP/1.1\r\nHost: books\r\nConnection: close\r\n"
	if !from.Header.IsHTTP11() {
		version = " HTTP/1.0\r\nHost: books\r\n"
	}
	out := make([]byte, 0, 512+len(body))
	out = append(out, from.Header.Method()...)
	out = append(out, ' ')
	out = append(out, q.uri...)
	out = append(out, version...)
	for _, name := range relayedFields {
		for _, value := range from.Header.PeekAll(name) {
			if len(value) == 0 || bytes.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
				continue
			}
			out = append(append(append(append(out, name...), ": "...), value...), "\r\n"...)
		}
	}
	if q.ctx.IsPost() || len(body) > 0 {
		out = append(strconv.AppendInt(append(out, "Content-Length: "...), int64(len(body)), 10), "\r\n"...)
	}
	return append(append(out, "\r\n"...), body...)
}

// relayed is a request that is passed on.
type relayed struct {
	running context.Context // is done when the listener is closed
	peer    *peer
	request []byte
	head    bool          // the method is HEAD
	asks    bool          // the method is GET or HEAD; the response must begin within wait
	wait    time.Duration // see answerWait
}

// errNoAnswer means that the books process closed the connection without a response.
var errNoAnswer = errors.New("it closed the connection")

func (r *relayed) run(ctx context.Context, client net.Conn) {
	began, err := r.exchange(ctx, client)
	if err != nil && !began && !errors.Is(context.Cause(ctx), errClientLeft) {
		send(client, r.head, func(resp *fasthttp.Response) { refuseAway(resp, err) })
	}
}

// exchange passes on the request and the response. began reports whether any byte has been sent to the client.
func (r *relayed) exchange(ctx context.Context, client net.Conn) (began bool, err error) {
	if !r.asks {
		if err := r.peer.answers(r.running); err != nil {
			return false, err
		}
	}
	books, err := r.peer.dialer.Dial(r.running)
	if err != nil {
		return false, err
	}
	defer func() { _ = books.Close() }()
	defer context.AfterFunc(ctx, func() { passEnd(ctx, books) })()
	_ = books.SetWriteDeadline(time.Now().Add(pingWait))
	if _, err := books.Write(r.request); err != nil {
		return false, err
	}
	if r.asks {
		_ = books.SetReadDeadline(time.Now().Add(r.wait))
	}
	return copyAnswer(client, books)
}

// passEnd signals to the books process that the client has disconnected. If the client has only closed its sending side, a response that
// arrives soon is still passed on.
func passEnd(ctx context.Context, books *link.Conn) {
	if errors.Is(context.Cause(ctx), errClientDone) {
		_ = books.SetReadDeadline(time.Now().Add(pingWait))
		_ = books.CloseWrite()
		return
	}
	_ = books.Close()
}

// copyAnswer copies until the books process closes its end. The client must read each part within writeTimeout.
func copyAnswer(client net.Conn, books *link.Conn) (began bool, err error) {
	buf := make([]byte, 16<<10)
	for {
		n, err := books.Read(buf)
		if n > 0 {
			if !began {
				began = true
				_ = books.SetReadDeadline(time.Time{})
			}
			_ = client.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := client.Write(buf[:n]); err != nil {
				return true, err
			}
		}
		switch {
		case errors.Is(err, io.EOF) && !began:
			return false, errNoAnswer
		case errors.Is(err, os.ErrDeadlineExceeded):
			return began, ErrBooksSilent
		case err != nil:
			return began, err
		}
	}
}
