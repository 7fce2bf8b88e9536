package proxy

// This file determines the gRPC status of the proxy's own responses. A gRPC client evaluates grpc-status, not the HTTP status. A
// response without a body has grpc-status in its header ("Trailers-Only" in the specification of gRPC over HTTP/2).

// gRPC status codes.
const (
	grpcDeadlineExceeded  = 4
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// grpcCode returns the gRPC status code that corresponds to the HTTP response for a failure. UNAVAILABLE means that clients may try
// again.
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
	case failBadRequest, failAmbiguous, failExpectation, failProtocol, failResponseHeader, failUpgrade, failNotUpgraded, failPanic, failClientClosed:
		return grpcInternal
	}
	return grpcUnavailable
}
