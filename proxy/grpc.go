package proxy

import (
	"bytes"
	"strconv"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy/http1"
)

// gRPC: the status of calls in the records, and the proxy's own answers to its clients. A client of gRPC does not look at the status of HTTP, but at grpc-status; an answer without a
// body has it in its header ("Trailers-Only" in the specification of gRPC over HTTP/2).

// Status codes of gRPC.
const (
	grpcDeadlineExceeded  = 4
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// grpcCode returns the status code of gRPC that says the same as the answer to a failure. UNAVAILABLE tells clients that they may try again.
func (f failure) grpcCode() int {
	switch f {
	case failTimeout, failTotal, failRequestTimeout:
		return grpcDeadlineExceeded
	case failHeaderTooLarge, failTargetTooLong, failBodyTooLarge, failMemory:
		return grpcResourceExhausted
	case failNotAllowed:
		return grpcPermissionDenied
	case failUnauthorized:
		return grpcUnauthenticated
	case failNotImplemented, failVersion, failNoRoute:
		return grpcUnimplemented
	case failBadRequest, failAmbiguous, failExpectation, failProtocol, failResponseHeader, failUpgrade, failPanic, failClientClosed:
		return grpcInternal
	}
	return grpcUnavailable
}

// isGRPC reports whether the request is one of gRPC over HTTP/2. gRPC-Web is not: it expects a status of HTTP.
func (x *exchange) isGRPC() bool {
	return x.head.HTTP2 && x.ev.GRPCStatus != event.GRPCNone && !bytes.HasPrefix(x.head.ContentType, []byte("application/grpc-web"))
}

// noteGRPC records the status of a gRPC call, if these lines of the response's header or trailers have it.
func (x *exchange) noteGRPC(lines []byte) {
	if x.ev.GRPCStatus != event.GRPCAbsent {
		return
	}
	if value := http1.FieldValue(lines, "grpc-status"); len(value) > 0 {
		x.ev.GRPCStatus = event.ParseGRPCStatus(value)
	}
}

// appendGRPCAnswer appends the header of an answer to a client of gRPC.
func (x *exchange) appendGRPCAnswer(dst []byte, f failure, detail string) []byte {
	dst = http1.AppendField(append(dst, "HTTP/1.1 200 OK\r\n"...), "Date: ", x.c.gen.date())
	dst = append(dst, "Content-Type: application/grpc\r\nGrpc-Status: "...)
	dst = strconv.AppendInt(dst, int64(f.grpcCode()), 10)
	dst = append(append(dst, "\r\nGrpc-Message: "...), detail...) // plain ASCII without "%"
	return http1.AppendField(append(dst, "\r\n"...), "X-Request-ID: ", x.id())
}
