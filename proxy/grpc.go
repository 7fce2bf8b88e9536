package proxy

import (
	"bytes"
	"strconv"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// gRPC: the proxy's own answers to its clients. A client of gRPC does not look at the status of HTTP, but at grpc-status; an answer without a
// body has it in its header ("Trailers-Only" in the specification of gRPC over HTTP/2).

// Status codes of gRPC.
const (
	grpcDeadlineExceeded  = 4
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
)

// grpcCode returns the status code of gRPC that says the same as the answer to a failure. UNAVAILABLE tells clients that they may try again.
func (f failure) grpcCode() int {
	switch f {
	case failTimeout, failTotal, failRequestTimeout:
		return grpcDeadlineExceeded
	case failHeaderTooLarge, failTargetTooLong, failBodyTooLarge, failMemory:
		return grpcResourceExhausted
	case failNotImplemented, failVersion:
		return grpcUnimplemented
	case failBadRequest, failExpectation, failProtocol, failResponseHeader, failUpgrade, failPanic, failClientClosed:
		return grpcInternal
	}
	return grpcUnavailable
}

// isGRPC reports whether the request is one of gRPC over HTTP/2. gRPC-Web is not: it expects a status of HTTP.
func (x *exchange) isGRPC() bool {
	if !x.head.HTTP2 {
		return false
	}
	rest, ok := bytes.CutPrefix(x.head.Value("content-type"), []byte("application/grpc"))
	return ok && (len(rest) == 0 || rest[0] == '+' || rest[0] == ';')
}

// appendGRPCAnswer appends the header of an answer to a client of gRPC.
func (x *exchange) appendGRPCAnswer(dst []byte, f failure, detail string) []byte {
	dst = http1.AppendField(append(dst, "HTTP/1.1 200 OK\r\n"...), "Date: ", x.c.gen.date())
	dst = append(dst, "Content-Type: application/grpc\r\nGrpc-Status: "...)
	dst = strconv.AppendInt(dst, int64(f.grpcCode()), 10)
	dst = append(append(dst, "\r\nGrpc-Message: "...), detail...) // plain ASCII without "%"
	return http1.AppendField(append(dst, "\r\n"...), "X-Request-ID: ", x.id())
}
