package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/route"
	"github.com/wayside-proxy/wayside/proxy/upstream"
)

// statusClientClosed is recorded, but never sent, if the client disconnected before the last byte of the response was written.
const statusClientClosed = 499

var (
	errBodyTooLarge = errors.New("request body too large")
	errClientBody   = errors.New("client left before the end of the request body")
	errMemory       = errors.New("too little memory left for the request")
)

// failure is the reason why the client does not receive the complete response from the upstream. Its name is the event's error type.
//
// A new one needs a constant, a row in failureTable, a case in the function below that classifies its cause (unless it is returned
// directly), a case in grpcCode (grpc.go: without one, gRPC clients receive UNAVAILABLE and try again), and a line in docs/HTTP.md. Add it
// to isUpstreamFailure (health.go) if the upstream causes it, to retryLater if the client should try again soon, and to understood if the
// request was well-formed, so that a status below 500 need not close the connection.
type failure uint8

const (
	failNone failure = iota
	failBadRequest
	failHeaderTooLarge
	failTargetTooLong
	failBodyTooLarge
	failExpectation
	failRequestTimeout
	failNotImplemented
	failVersion
	failTLSRequired
	failClientClosed
	failWriteTimeout
	failConnectRefused
	failConnectTimeout
	failConnect
	failDNS
	failReset
	failTimeout
	failProtocol
	failResponseHeader
	failUpgrade
	failNotUpgraded
	failTruncated
	failPool
	failPanic
	failTotal
	failConns
	failAddressConns
	failMemory
	failGaveWay
	failTunnelIdle
	failShutdown
	failNoHealthy
	failRetryBudget
	failUpstreamBusy
	failUpstreamTLS
	failAmbiguous
	failNoRoute
	failNotAllowed
	failUnauthorized
	failAuthBusy
	failures
)

// failureTable contains, for each failure, the error type that is recorded, the status of the response that the proxy sends, and its text for the
// client. The text reveals nothing about the service or its network.
var failureTable = [failures]struct {
	name   []byte
	status int
	detail string
}{
	failBadRequest:     {[]byte("bad_request"), 400, "The request is malformed or its framing is ambiguous."},
	failHeaderTooLarge: {[]byte("header_too_large"), 431, "The request's header is too large."},
	failTargetTooLong:  {[]byte("uri_too_long"), 414, "The request's target is too long."},
	failExpectation:    {[]byte("expectation_failed"), 417, "The expectation is not supported."},
	failBodyTooLarge:   {[]byte("body_too_large"), 413, "The request's body is too large."},
	failRequestTimeout: {[]byte("request_timeout"), 408, "The request did not arrive in time."},
	failNotImplemented: {[]byte("not_implemented"), 501, "The method or the protocol is not supported."},
	failVersion:        {[]byte("unsupported_version"), 505, "The protocol version is not supported."},
	failTLSRequired:    {[]byte("tls_required"), 400, "This port speaks TLS: use https."},
	failClientClosed:   {[]byte("client_closed"), 400, "The request is incomplete."},
	failWriteTimeout:   {[]byte("write_timeout"), statusClientClosed, "The response was not read in time."}, // never sent
	failConnectRefused: {[]byte("connect_refused"), 502, "The service is not reachable."},
	failConnectTimeout: {[]byte("connect_timeout"), 504, "The service did not accept the connection in time."},
	failConnect:        {[]byte("connect_error"), 502, "The service is not reachable."},
	failDNS:            {[]byte("dns_error"), 502, "The service is not reachable."},
	failReset:          {[]byte("connection_reset"), 502, "The service closed the connection without a response."},
	failTimeout:        {[]byte("timeout"), 504, "The service did not respond in time."},
	failProtocol:       {[]byte("protocol_error"), 502, "The service's response could not be understood."},
	failResponseHeader: {[]byte("response_header_too_large"), 502, "The service's response could not be passed on."},
	failUpgrade:        {[]byte("unexpected_upgrade"), 502, "The service's response could not be understood."},
	failNotUpgraded:    {[]byte("upgrade_ignored"), 502, "The service does not offer a WebSocket here."},
	failTruncated:      {[]byte("upstream_truncated"), 502, "The service's response was cut short."},
	failPool:           {[]byte("pool_exhausted"), 503, "The service is busy."},
	failPanic:          {[]byte("panic"), 500, "The request could not be processed."},
	failTotal:          {[]byte("total_timeout"), 504, "The service did not respond in time."},
	failConns:          {[]byte("connections_max"), 503, "Too many connections."},
	failAddressConns:   {[]byte("address_connections_max"), 503, "Too many connections from this address."},
	failMemory:         {[]byte("memory_max"), 503, "The service is busy."},
	failGaveWay:        {[]byte("gave_way"), 408, "The request did not arrive in time."},
	failTunnelIdle:     {[]byte("idle_timeout"), 504, "Nothing was sent for too long."},
	failShutdown:       {[]byte("shutdown"), 503, "The service is shutting down."},
	failNoHealthy:      {[]byte("no_healthy_upstream"), 503, "The service is not available."},
	failRetryBudget:    {[]byte("retry_budget"), 502, "The service is not reachable."},
	failUpstreamBusy:   {[]byte("upstream_busy"), 503, "The service is busy."},
	failUpstreamTLS:    {[]byte("upstream_tls"), 502, "The service is not reachable."},
	failAmbiguous:      {[]byte("ambiguous_path"), 400, "The path can be understood in several ways."},
	failNoRoute:        {[]byte("no_route"), 404, "There is nothing here."},
	failNotAllowed:     {[]byte("not_allowed"), 403, "Clients in this network have no access."},
	failUnauthorized:   {[]byte("unauthorized"), 401, "A name and a password are needed."},
	failAuthBusy:       {[]byte("auth_busy"), 503, "Too many passwords are being checked."},
}

// retryLater reports whether the response has Retry-After.
func (f failure) retryLater() bool {
	switch f {
	case failPool, failConns, failAddressConns, failMemory, failNoHealthy, failUpstreamBusy, failAuthBusy:
		return true
	}
	return false
}

func (f failure) String() string { return string(failureTable[f].name) }

// isTimeout reports whether err was caused by a deadline.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// connectFailure classifies an error from pool.get.
func connectFailure(err error) failure {
	var dns *net.DNSError
	var encryption *upstream.TLSError
	switch {
	case errors.Is(err, errPoolExhausted):
		return failPool
	case errors.Is(err, errUpstreamBusy):
		return failUpstreamBusy
	case errors.As(err, &encryption):
		return failUpstreamTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		return failConnectRefused
	case errors.As(err, &dns):
		return failDNS
	case isTimeout(err):
		return failConnectTimeout
	}
	return failConnect
}

// bodyFailure classifies an incomplete request body. The reader's error does not show whether the client disconnected or a deadline
// passed, so bodyFailure examines the state of the connection.
func (c *clientConn) bodyFailure() failure {
	switch {
	case c.stream != nil && c.stream.lacksMemory():
		return failMemory
	case c.limits.read.Load() == fired:
		return failRequestTimeout
	case c.failed.Load():
		return failClientClosed
	}
	return failBadRequest
}

// exchangeFailure classifies an error that occurred between the first byte to the upstream and the end of the response's header.
func exchangeFailure(err error) failure {
	switch {
	case errors.Is(err, errBodyTooLarge):
		return failBodyTooLarge
	case errors.Is(err, errMemory):
		return failMemory
	case errors.Is(err, errUpgrade):
		return failUpgrade
	case errors.Is(err, errNotUpgraded):
		return failNotUpgraded
	case errors.Is(err, errResponseHeader):
		return failResponseHeader
	case errors.Is(err, errHeaderCut):
		return failTruncated
	case upstream.IsAlert(err): // with TLS 1.3, a server refuses the client certificate only after the handshake
		return failUpstreamTLS
	case errors.Is(err, http1.ErrResponse), errors.Is(err, io.ErrUnexpectedEOF):
		return failProtocol
	case isTimeout(err):
		return failTimeout
	}
	return failReset
}

// headFailure classifies the reason for refusing a request's header.
func headFailure(err error) failure {
	switch {
	case errors.Is(err, route.ErrAmbiguous):
		return failAmbiguous
	case errors.Is(err, http1.ErrVersion):
		return failVersion
	case errors.Is(err, http1.ErrMethod):
		return failNotImplemented
	case errors.Is(err, http1.ErrExpectation):
		return failExpectation
	case errors.Is(err, http1.ErrTargetSize):
		return failTargetTooLong
	case errors.Is(err, http1.ErrHeaderSize):
		return failHeaderTooLarge
	case errors.Is(err, errMemory):
		return failMemory
	case isTimeout(err):
		return failRequestTimeout
	}
	return failBadRequest
}

// answer records a failure and sends the proxy's own response for it. It closes the client's connection if bytes of the request may still be
// unread.
func (x *exchange) answer(f failure) {
	entry := &failureTable[f]
	if entry.status < 500 && !f.understood() {
		x.reply.closeAfter = true
	}
	status, body := entry.status, ""
	if x.req.isGRPC() {
		status = http.StatusOK
		x.ev.GRPCStatus = event.GRPCOf(f.grpcCode())
		x.reply.buf = x.req.appendGRPCFailure(x.reply.buf[:0], f, entry.detail)
	} else {
		body = x.req.errorPage(status, entry.detail)
		x.reply.buf = x.req.appendFailure(x.reply.buf[:0], status, body)
	}
	if f == failUnauthorized {
		x.reply.buf = append(append(append(x.reply.buf, "WWW-Authenticate: Basic realm=\""...), x.req.route.name...), "\", charset=\"UTF-8\"\r\n"...)
	}
	x.endOwn(status, f, []byte(body))
}

// understood reports whether the request was well-formed despite the failure, so that the connection can be reused.
func (f failure) understood() bool {
	return f == failNoRoute || f == failNotAllowed || f == failUnauthorized
}

// answerMaxForwards responds to a request with Max-Forwards: 0 (RFC 9110, section 7.6.2). It refuses TRACE, because the response would repeat the
// request, including its credentials.
func (x *exchange) answerMaxForwards() {
	if x.req.Is("TRACE") {
		x.answer(failNotImplemented)
		return
	}
	x.ev.Status, x.ev.RequestID = 200, x.req.id()
	x.reply.buf = http1.AppendField(append(x.reply.buf[:0], "HTTP/1.1 200 OK\r\n"...), "Date: ", x.c.gen.date())
	x.reply.buf = http1.AppendField(append(x.reply.buf, "Content-Length: 0\r\n"...), "X-Request-ID: ", x.req.id())
	x.endHead()
	x.record(failNone)
	x.reply.write(x.reply.buf)
}
