package event

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/wayside-proxy/wayside/internal/varint"
)

// Version is the newest record format. Encode writes it for events with a [Span]. For other events, it writes version 4 if they have a
// route, more than one attempt, TLS or gRPC, otherwise version 3 if they have a request time or a wait, otherwise version 2 if they have
// a request ID, and otherwise version 1. Decode reads every version. In every version, the first two bytes are version and kind, and a
// record has at least fixedBytes. So an older version of wayside can count newer records, although it cannot decode them and must leave
// them in the spool ([Batch.CheckVersion]).
const (
	Version          = 5
	versionPlain     = 1
	versionWithID    = 2
	versionWithTimes = 3
	versionWithEdge  = 4
	versionWithSpan  = 5
)

// SizeMax is the size in bytes of the largest record that Encode can write.
const SizeMax = fixedBytes + 6*binary.MaxVarintLen64 +
	MethodBytesMax + HostBytesMax + PathBytesMax + UpstreamBytesMax + ProtocolBytesMax + ClientBytesMax + TraceIDBytesMax +
	ErrorTypeBytesMax + RequestIDBytesMax + RouteBytesMax + edgeBytes + spanBytes + 10*2

// fixedBytes is the total length of version, kind, method code and protocol code (1 each), status (2) and time (8).
const fixedBytes = 14

// ErrMalformed is returned for bytes that are not a valid record or batch.
var ErrMalformed = errors.New("malformed event record")

// ErrVersion is returned for a record or batch in a format that is newer than this version of wayside.
var ErrVersion = errors.New("event format is newer than this version of wayside")

// Codes of common values. Code 0 means that the text follows. The tables are part of the format: only append to them.
var (
	methods   = [...]string{"", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"}
	protocols = [...]string{"", "1.0", "1.1", "2", "3"}

	methodBytes   = asBytes(methods[:])
	protocolBytes = asBytes(protocols[:])
)

func asBytes(names []string) [][]byte {
	out := make([][]byte, len(names))
	for i, name := range names {
		out[i] = []byte(name)
	}
	return out
}

func methodCode(m []byte) byte {
	switch string(m) {
	case "GET":
		return 1
	case "HEAD":
		return 2
	case "POST":
		return 3
	}
	return codeOf(methods[1:], m)
}

func protocolCode(p []byte) byte {
	if string(p) == "1.1" {
		return 2
	}
	return codeOf(protocols[1:], p)
}

func codeOf(names []string, v []byte) byte {
	for i, name := range names {
		if string(v) == name {
			return byte(i + 1) // cannot overflow: the tables have a dozen entries
		}
	}
	return 0
}

func clip(b []byte, limit int) []byte {
	if len(b) > limit {
		return b[:limit]
	}
	return b
}

func textSize(b []byte, limit int) int {
	n := min(len(b), limit)
	return varint.Size(uint64(n)) + n
}

// Size returns the exact number of bytes that Encode writes.
func (e *Event) Size() int {
	n := fixedBytes +
		varint.Size(e.DurationMicros) + varint.Size(e.TTFBMicros) + varint.Size(e.RequestBytes) + varint.Size(e.ResponseBytes) +
		textSize(e.Host, HostBytesMax) + textSize(e.Path, PathBytesMax) + textSize(e.Upstream, UpstreamBytesMax) +
		textSize(e.Client, ClientBytesMax) + textSize(e.TraceID, TraceIDBytesMax) + textSize(e.ErrorType, ErrorTypeBytesMax)
	if methodCode(e.Method) == 0 {
		n += textSize(e.Method, MethodBytesMax)
	}
	if protocolCode(e.Protocol) == 0 {
		n += textSize(e.Protocol, ProtocolBytesMax)
	}
	switch edge := e.hasEdge(); {
	case edge || e.hasTimes():
		n += textSize(e.RequestID, RequestIDBytesMax) + varint.Size(e.RequestMicros) + varint.Size(e.WaitMicros)
		if edge {
			n += textSize(e.Route, RouteBytesMax) + edgeBytes
		}
		if e.Span != (Span{}) {
			n += spanBytes
		}
	case len(e.RequestID) > 0:
		n += textSize(e.RequestID, RequestIDBytesMax)
	}
	return n
}

func (e *Event) hasTimes() bool { return e.RequestMicros|e.WaitMicros != 0 }

// Encode writes the record to dst, which must have at least Size bytes, and returns the number of bytes written. It does not
// allocate.
func (e *Event) Encode(dst []byte) int {
	method, protocol := methodCode(e.Method), protocolCode(e.Protocol)
	dst[0] = versionPlain
	dst[1] = byte(e.Kind)
	dst[2] = method
	dst[3] = protocol
	binary.LittleEndian.PutUint16(dst[4:], e.Status)
	binary.LittleEndian.PutUint64(dst[6:], uint64(e.TimeMicros))
	n := fixedBytes
	n += binary.PutUvarint(dst[n:], e.DurationMicros)
	n += binary.PutUvarint(dst[n:], e.TTFBMicros)
	n += binary.PutUvarint(dst[n:], e.RequestBytes)
	n += binary.PutUvarint(dst[n:], e.ResponseBytes)
	if method == 0 {
		n += putText(dst[n:], e.Method, MethodBytesMax)
	}
	if protocol == 0 {
		n += putText(dst[n:], e.Protocol, ProtocolBytesMax)
	}
	n += putText(dst[n:], e.Host, HostBytesMax)
	n += putText(dst[n:], e.Path, PathBytesMax)
	n += putText(dst[n:], e.Upstream, UpstreamBytesMax)
	n += putText(dst[n:], e.Client, ClientBytesMax)
	n += putText(dst[n:], e.TraceID, TraceIDBytesMax)
	n += putText(dst[n:], e.ErrorType, ErrorTypeBytesMax)
	switch edge := e.hasEdge(); {
	case edge || e.hasTimes():
		dst[0] = versionWithTimes
		n += putText(dst[n:], e.RequestID, RequestIDBytesMax)
		n += binary.PutUvarint(dst[n:], e.RequestMicros)
		n += binary.PutUvarint(dst[n:], e.WaitMicros)
		if edge {
			dst[0] = versionWithEdge
			n += e.putEdge(dst[n:])
		}
		if e.Span != (Span{}) {
			dst[0] = versionWithSpan
			n += copy(dst[n:], e.Span[:])
		}
	case len(e.RequestID) > 0:
		dst[0] = versionWithID
		n += putText(dst[n:], e.RequestID, RequestIDBytesMax)
	}
	return n
}

func putText(dst, text []byte, limit int) int {
	text = clip(text, limit)
	n := binary.PutUvarint(dst, uint64(len(text)))
	return n + copy(dst[n:], text)
}

// Decode reads a record. The event's slices point into src. Decode accepts only records that Encode can have written, so each event has
// exactly one valid encoding. The error wraps [ErrMalformed] or [ErrVersion].
func (e *Event) Decode(src []byte) error {
	*e = Event{}
	if len(src) < fixedBytes {
		return fmt.Errorf("%w: %d bytes", ErrMalformed, len(src))
	}
	if src[0] > Version {
		return fmt.Errorf("%w: record version %d, but this version supports only up to %d", ErrVersion, src[0], Version)
	}
	if src[0] == 0 || src[1] < byte(KindRequest) || src[1] > byte(KindDrop) {
		return fmt.Errorf("%w: version %d, kind %d", ErrMalformed, src[0], src[1])
	}
	e.Kind = Kind(src[1])
	e.Status = binary.LittleEndian.Uint16(src[4:])
	e.TimeMicros = int64(binary.LittleEndian.Uint64(src[6:])) // two's complement of Encode

	r := varint.Reader{Rest: src[fixedBytes:]}
	e.DurationMicros = r.Uvarint()
	e.TTFBMicros = r.Uvarint()
	e.RequestBytes = r.Uvarint()
	e.ResponseBytes = r.Uvarint()
	e.Method = coded(&r, src[2], methodBytes, MethodBytesMax)
	e.Protocol = coded(&r, src[3], protocolBytes, ProtocolBytesMax)
	e.Host = r.Text(HostBytesMax)
	e.Path = r.Text(PathBytesMax)
	e.Upstream = r.Text(UpstreamBytesMax)
	e.Client = r.Text(ClientBytesMax)
	e.TraceID = r.Text(TraceIDBytesMax)
	e.ErrorType = r.Text(ErrorTypeBytesMax)
	switch src[0] {
	case versionWithID:
		e.RequestID = r.Text(RequestIDBytesMax)
		r.Bad = r.Bad || len(e.RequestID) == 0
	case versionWithTimes:
		e.RequestID = r.Text(RequestIDBytesMax)
		e.RequestMicros, e.WaitMicros = r.Uvarint(), r.Uvarint()
		r.Bad = r.Bad || !e.hasTimes()
	case versionWithEdge:
		e.RequestID = r.Text(RequestIDBytesMax)
		e.RequestMicros, e.WaitMicros = r.Uvarint(), r.Uvarint()
		e.readEdge(&r)
		r.Bad = r.Bad || !e.hasEdge() // Encode would have written version 3 or older
	case versionWithSpan:
		e.RequestID = r.Text(RequestIDBytesMax)
		e.RequestMicros, e.WaitMicros = r.Uvarint(), r.Uvarint()
		e.readEdge(&r)
		e.readSpan(&r)
	}
	if !r.Done() {
		*e = Event{}
		return fmt.Errorf("%w: fields do not fill %d bytes", ErrMalformed, len(src))
	}
	return nil
}

// coded returns the text for a code in the table. For code 0, it reads the text instead.
func coded(r *varint.Reader, code byte, table [][]byte, limit int) []byte {
	if int(code) >= len(table) {
		r.Fail()
		return nil
	}
	if code != 0 {
		return table[code]
	}
	text := r.Text(limit)
	for _, known := range table[1:] {
		if string(text) == string(known) { // Encode would have written the code
			r.Fail()
		}
	}
	return text
}
