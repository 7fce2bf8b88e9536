package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/valyala/fasthttp"
)

// statusClientClosed is recorded, never sent: the client left before the last byte was handed on.
const statusClientClosed = 499

var (
	errTarget       = errors.New("bad request target")
	errBodyTooLarge = errors.New("request body too large")
	errClientBody   = errors.New("client left within the request body")
)

// failure says why a response is not what the upstream meant to send. Its name is the event's error type.
type failure uint8

const (
	failNone failure = iota
	failBadRequest
	failHeaderTooLarge
	failBodyTooLarge
	failRequestTimeout
	failNotImplemented
	failVersion
	failClientClosed
	failConnectRefused
	failConnectTimeout
	failConnect
	failDNS
	failReset
	failTimeout
	failProtocol
	failUpgrade
	failTruncated
	failPool
	failPanic
	failures
)

// failureTable holds, by failure, the error type that is recorded, the status of the proxy's own answer, and what that
// answer tells the client, which is never more than it needs to know.
var failureTable = [failures]struct {
	name   []byte
	status int
	detail string
}{
	failBadRequest:     {[]byte("bad_request"), 400, "The request is malformed or its framing is ambiguous."},
	failHeaderTooLarge: {[]byte("header_too_large"), 431, "The request's header is too large."},
	failBodyTooLarge:   {[]byte("body_too_large"), 413, "The request's body is too large."},
	failRequestTimeout: {[]byte("request_timeout"), 408, "The request did not arrive in time."},
	failNotImplemented: {[]byte("not_implemented"), 501, "The method is not supported."},
	failVersion:        {[]byte("unsupported_version"), 505, "The protocol version is not supported."},
	failClientClosed:   {[]byte("client_closed"), 400, "The request is incomplete."},
	failConnectRefused: {[]byte("connect_refused"), 502, "The service is not reachable."},
	failConnectTimeout: {[]byte("connect_timeout"), 504, "The service did not accept the connection in time."},
	failConnect:        {[]byte("connect_error"), 502, "The service is not reachable."},
	failDNS:            {[]byte("dns_error"), 502, "The service is not reachable."},
	failReset:          {[]byte("connection_reset"), 502, "The service closed the connection without an answer."},
	failTimeout:        {[]byte("timeout"), 504, "The service did not answer in time."},
	failProtocol:       {[]byte("protocol_error"), 502, "The service's answer could not be understood."},
	failUpgrade:        {[]byte("unexpected_upgrade"), 502, "The service's answer could not be understood."},
	failTruncated:      {[]byte("upstream_truncated"), 502, "The service's answer was cut short."},
	failPool:           {[]byte("pool_exhausted"), 503, "The service is busy."},
	failPanic:          {[]byte("panic"), 500, "The request could not be processed."},
}

func (f failure) String() string { return string(failureTable[f].name) }

// isTimeout reports whether err comes from a deadline.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// connectFailure classifies what the pool's get returns.
func connectFailure(err error) failure {
	var dns *net.DNSError
	switch {
	case errors.Is(err, errPoolExhausted):
		return failPool
	case errors.Is(err, syscall.ECONNREFUSED):
		return failConnectRefused
	case errors.As(err, &dns):
		return failDNS
	case isTimeout(err):
		return failConnectTimeout
	}
	return failConnect
}

// bodyFailure classifies why a request's body ended before its end. fasthttp's errors hide their cause, so the connection
// is asked.
func (c *clientConn) bodyFailure() failure {
	switch {
	case c.limits.read.Load() == fired:
		return failRequestTimeout
	case c.failed.Load():
		return failClientClosed
	}
	return failBadRequest
}

// exchangeFailure classifies what went wrong between the request's first byte out and the end of the response's header.
func exchangeFailure(err error) failure {
	switch {
	case errors.Is(err, errBodyTooLarge):
		return failBodyTooLarge
	case errors.Is(err, errUpgrade):
		return failUpgrade
	case errors.Is(err, errProtocol), errors.Is(err, io.ErrUnexpectedEOF):
		return failProtocol
	case isTimeout(err):
		return failTimeout
	}
	return failReset
}

// parserFailure classifies what fasthttp hands to its error handler.
func parserFailure(err error) failure {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &small):
		return failHeaderTooLarge
	case isTimeout(err):
		return failRequestTimeout
	}
	return failBadRequest
}

// answer records a failure and makes the proxy's own response to it. The client's connection is closed where bytes of the
// request may be left on it.
func (x *exchange) answer(f failure) {
	entry := &failureTable[f]
	resp := &x.ctx.Response
	resp.ResetBody()
	resp.Header.Reset()
	resp.Header.DisableNormalizing()
	resp.Header.SetNoDefaultContentType(true)
	resp.SetStatusCode(entry.status)
	resp.Header.Set("X-Request-ID", string(x.id()))
	resp.Header.Set("Cache-Control", "no-store")
	if f == failPool {
		resp.Header.Set("Retry-After", "1")
	}
	x.errorPage(resp, entry.status, entry.detail)
	if x.hasBody || entry.status < 500 || f == failVersion {
		resp.Header.SetConnectionClose()
	}
	x.ev.Status = uint16(entry.status)
	if f == failClientClosed {
		x.ev.Status = statusClientClosed
	}
	x.ev.ResponseBytes = uint64(len(resp.Body()))
	if x.ctx.IsHead() {
		x.ev.ResponseBytes = 0
	}
	x.record(f)
}

// errorPage writes the body: JSON where the client prefers it, otherwise plain text.
func (x *exchange) errorPage(resp *fasthttp.Response, status int, detail string) {
	title := fasthttp.StatusMessage(status)
	if bytes.Contains(x.ctx.Request.Header.Peek("Accept"), []byte("json")) {
		resp.Header.SetContentType("application/json")
		resp.SetBodyString(fmt.Sprintf("{\"status\":%d,\"error\":%s,\"detail\":%s,\"request_id\":%s}\n",
			status, strconv.Quote(title), strconv.Quote(detail), strconv.Quote(string(x.id()))))
		return
	}
	resp.Header.SetContentType("text/plain; charset=utf-8")
	resp.SetBodyString(fmt.Sprintf("%d %s\n\n%s\nRequest: %s\n", status, title, detail, x.id()))
}
