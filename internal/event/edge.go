package event

import (
	"bytes"
	"strconv"

	"github.com/wayside-proxy/wayside/internal/varint"
)

// GRPCStatus records whether a request was a gRPC call and, if so, the status with which the call ended. The zero value means that it was
// not a gRPC call. The values are part of the record format.
type GRPCStatus uint8

// The values of a GRPCStatus. The values from grpcFirst on stand for the status codes 0 to 16.
const (
	// GRPCNone means that the request was not a gRPC call.
	GRPCNone GRPCStatus = 0
	// GRPCAbsent is the status of a gRPC call whose response had no grpc-status, because the stream was reset or the
	// server does not speak gRPC.
	GRPCAbsent GRPCStatus = 1
	// GRPCOther is the status of a gRPC call whose grpc-status is not a number from 0 to 16.
	GRPCOther GRPCStatus = 2

	grpcFirst = 3
	grpcMax   = grpcFirst + GRPCCodeMax
)

// Status codes of gRPC in figures and in the archive.
const (
	// GRPCCodeMax is the highest status code that gRPC defines.
	GRPCCodeMax = 16
	// GRPCCodeOther is the code of [GRPCOther] in figures and in the archive.
	GRPCCodeOther = GRPCCodeMax + 1
)

// grpcNames are the names of the status codes 0 to 16.
var grpcNames = [GRPCCodeMax + 1]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
	"UNAUTHENTICATED",
}

// grpcErrors has a bit for each status code that is an error of the server according to OpenTelemetry's semantic conventions: UNKNOWN,
// DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS. A client treats a code that it does not know as UNKNOWN, so
// GRPCOther is also an error.
const grpcErrors = 1<<2 | 1<<4 | 1<<12 | 1<<13 | 1<<14 | 1<<15

// GRPCOf returns the status of a gRPC call that ended with this code. For a code that gRPC does not define, it returns
// [GRPCOther].
func GRPCOf(code int) GRPCStatus {
	if code < 0 || code > GRPCCodeMax {
		return GRPCOther
	}
	return GRPCStatus(code + grpcFirst)
}

// ParseGRPCStatus returns the status of a gRPC call whose response has this grpc-status; an empty value means that the response has none.
func ParseGRPCStatus(value []byte) GRPCStatus {
	switch {
	case len(value) == 0:
		return GRPCAbsent
	case len(value) == 1 && value[0] >= '0' && value[0] <= '9':
		return GRPCOf(int(value[0] - '0'))
	case len(value) == 2 && value[0] == '1' && value[1] >= '0' && value[1] <= '9':
		return GRPCOf(10 + int(value[1]-'0'))
	}
	return GRPCOther
}

// IsGRPCContent reports whether a request with this Content-Type is a gRPC call: application/grpc or one of its
// variants, such as application/grpc+proto and application/grpc-web.
func IsGRPCContent(contentType []byte) bool {
	const grpc = "application/grpc"
	if len(contentType) < len(grpc) || !bytes.EqualFold(contentType[:len(grpc)], []byte(grpc)) {
		return false
	}
	rest := contentType[len(grpc):]
	return len(rest) == 0 || bytes.IndexByte([]byte("+-; \t"), rest[0]) >= 0
}

// Code returns the status code, or [GRPCCodeOther]. It returns false if there is none.
func (s GRPCStatus) Code() (code int, ok bool) {
	switch {
	case s == GRPCOther || s > grpcMax:
		return GRPCCodeOther, true
	case s < grpcFirst:
		return 0, false
	}
	return int(s) - grpcFirst, true
}

// IsError reports whether the call failed because of the server.
func (s GRPCStatus) IsError() bool {
	code, ok := s.Code()
	return ok && (code == GRPCCodeOther || grpcErrors>>code&1 == 1)
}

// GRPCName returns the name of a status code, such as "UNAVAILABLE", or "(other)" for a code that gRPC does not define.
func GRPCName(code int) string {
	if code < 0 || code > GRPCCodeMax {
		return "(other)"
	}
	return grpcNames[code]
}

// GRPCCode returns the code for a name or a number in the forms that people type: "unavailable", "UNAVAILABLE" or "14". For "other",
// "(other)" and "17" it returns [GRPCCodeOther]. It returns false for anything else.
func GRPCCode(text string) (code int, ok bool) {
	switch text {
	case "other", "(other)", strconv.Itoa(GRPCCodeOther):
		return GRPCCodeOther, true
	}
	for code, name := range grpcNames {
		if bytes.EqualFold([]byte(name), []byte(text)) || strconv.Itoa(code) == text {
			return code, true
		}
	}
	return 0, false
}

// Only the second byte of a TLS version's number is recorded: 1.0 is 0x0301, and 1.3 is 0x0304.
const (
	tlsMajor   = 0x0300
	tlsCodeMax = 9
)

func tlsCode(version uint16) byte {
	if version <= tlsMajor || version > tlsMajor+tlsCodeMax {
		return 0
	}
	return byte(version - tlsMajor)
}

func tlsVersion(code byte) uint16 {
	if code == 0 {
		return 0
	}
	return tlsMajor + uint16(code)
}

// TLSProtocol returns the TLS version as text, such as "1.3". It is empty for cleartext.
func (e *Event) TLSProtocol() string {
	code := tlsCode(e.TLSVersion)
	if code == 0 {
		return ""
	}
	return "1." + strconv.Itoa(int(code)-1)
}

// ParseTLSProtocol is the inverse of [Event.TLSProtocol]. It returns false if the text is not a TLS version.
func ParseTLSProtocol(text string) (version uint16, ok bool) {
	if text == "" {
		return 0, true
	}
	if len(text) != 3 || text[:2] != "1." || text[2] < '0' || text[2] >= '0'+tlsCodeMax {
		return 0, false
	}
	return tlsVersion(text[2] - '0' + 1), true
}

// edgeBytes is the length of an [Edge].
const edgeBytes = 3

// Edge holds an event's attempts, TLS version and gRPC status in the form in which they are stored, as one byte each.
// All are zero for a cleartext request that was not a gRPC call and needed only one attempt.
type Edge [edgeBytes]byte

// Edge returns the event's [Edge].
func (e *Event) Edge() Edge {
	attempts := e.Attempts
	if attempts == 1 {
		attempts = 0
	}
	return Edge{attempts, tlsCode(e.TLSVersion), byte(min(e.GRPCStatus, grpcMax))}
}

// SetEdge sets the fields of an [Edge], which must be valid.
func (e *Event) SetEdge(v Edge) {
	e.Attempts, e.TLSVersion, e.GRPCStatus = v[0], tlsVersion(v[1]), GRPCStatus(v[2])
}

// Attempts returns the number of times that the request was sent to an upstream, or 0 if it was sent only once or never.
func (v Edge) Attempts() uint8 { return v[0] }

// Valid reports whether [Event.Edge] can have returned v.
func (v Edge) Valid() bool { return v[0] != 1 && v[1] <= tlsCodeMax && v[2] <= grpcMax }

// hasEdge reports whether the event uses any of the fields of version 4 or 5.
func (e *Event) hasEdge() bool { return len(e.Route) > 0 || e.Edge() != Edge{} || e.Span != Span{} }

// putEdge writes the fields of version 4.
func (e *Event) putEdge(dst []byte) int {
	n := putText(dst, e.Route, RouteBytesMax)
	edge := e.Edge()
	return n + copy(dst[n:], edge[:])
}

// readEdge reads the fields of version 4.
func (e *Event) readEdge(r *varint.Reader) {
	e.Route = r.Text(RouteBytesMax)
	edge := Edge{r.Byte(), r.Byte(), r.Byte()}
	e.SetEdge(edge)
	r.Bad = r.Bad || !edge.Valid()
}
