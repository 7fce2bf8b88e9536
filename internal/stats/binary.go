package stats

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// RowVersion is the newest row format that [Row.AppendBinary] writes. [Row.Decode] reads every version up to it.
const RowVersion = 3

// A row is written in the oldest version that has all of its parts, so rows without the newer parts do not become larger.
const (
	versionPlain    = 1
	versionWithGRPC = 2
	versionUntimed  = 3
)

// ErrMalformed is returned for bytes that are not a valid row.
var ErrMalformed = errors.New("malformed statistics row")

// ErrVersion is returned for a row in a format that is newer than this version of wayside.
var ErrVersion = errors.New("statistics row is newer than this version of wayside")

// countMax limits the counts of a row. Up to this limit, floating-point numbers are exact.
const countMax = 1 << 53

// AppendBinary appends the row's encoded form to dst. Equal rows have equal encodings. The error is always nil;
// [encoding.BinaryAppender] requires it.
func (r *Row) AppendBinary(dst []byte) ([]byte, error) {
	version := byte(versionPlain)
	if len(r.GRPC) > 0 {
		version = versionWithGRPC
	}
	if r.Untimed > 0 {
		version = versionUntimed
	}
	dst = append(dst, version)
	for _, v := range [...]uint64{r.Count, r.Errors, r.Streams, r.BytesIn, r.BytesOut, r.SumMicros, r.MaxMicros} {
		dst = binary.AppendUvarint(dst, v)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Status)))
	before := uint16(0)
	for _, s := range r.Status {
		dst = binary.AppendUvarint(dst, uint64(s.Code-before))
		dst = binary.AppendUvarint(dst, s.Count)
		before = s.Code
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.ErrorTypes)))
	for _, t := range r.ErrorTypes {
		dst = varint.AppendText(dst, t.Type)
		dst = binary.AppendUvarint(dst, t.Count)
	}
	dst = r.Latency.appendBinary(dst)
	if version >= versionWithGRPC {
		dst = r.appendGRPC(dst)
	}
	if version == versionUntimed {
		dst = binary.AppendUvarint(dst, r.Untimed)
	}
	return dst, nil
}

func (r *Row) appendGRPC(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(r.GRPC)))
	before := uint8(0)
	for _, g := range r.GRPC {
		dst = binary.AppendUvarint(dst, uint64(g.Code-before))
		dst = binary.AppendUvarint(dst, g.Count)
		before = g.Code
	}
	return dst
}

// addEncodedTail adds the parts of newer versions, which follow the latencies. timed is the number of latencies; together with the
// responses that have none, there must be total responses.
func (r *Row) addEncodedTail(in *varint.Reader, version byte, timed, total uint64) {
	if version >= versionWithGRPC {
		r.addEncodedGRPC(in, version, total)
	}
	untimed := uint64(0)
	if version == versionUntimed {
		untimed = nonZero(in)
		r.Untimed += untimed
	}
	if timed > total || timed+untimed != total {
		in.Fail()
	}
}

// addEncodedGRPC adds the gRPC status codes at the front of in to the row. The codes must be in ascending order, and their counts must
// add up to at most total.
func (r *Row) addEncodedGRPC(in *varint.Reader, version byte, total uint64) {
	n := in.Length(grpcCodes)
	code, sum := uint64(0), uint64(0)
	for i := range n {
		step, calls := in.Uvarint(), nonZero(in)
		code += step
		if in.Bad || i > 0 && step == 0 || code >= grpcCodes {
			in.Fail()
			return
		}
		sum += calls
		r.addGRPC(uint8(code), calls)
	}
	if n == 0 && version == versionWithGRPC || sum > total {
		in.Fail()
	}
}

// grpcCodes is the number of different status codes, including the one for all others.
const grpcCodes = event.GRPCCodeOther + 1

func (s *Sketch) appendBinary(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, s.zeros)
	n := uint64(0)
	s.Bins(func(int, uint64) { n++ })
	dst = binary.AppendUvarint(dst, n)
	before := 0
	s.Bins(func(index int, count uint64) {
		dst = binary.AppendUvarint(dst, uint64(index-before)) // ascending
		dst = binary.AppendUvarint(dst, count)
		before = index
	})
	return dst
}

// CountOf reads the number of responses from an encoded row without decoding the rest.
func CountOf(src []byte) (uint64, error) {
	if err := checkVersion(src); err != nil {
		return 0, err
	}
	in := varint.Reader{Rest: src[1:]}
	count := in.Uvarint()
	if in.Bad {
		return 0, fmt.Errorf("%w: no count", ErrMalformed)
	}
	return count, nil
}

func checkVersion(src []byte) error {
	switch {
	case len(src) == 0 || src[0] == 0:
		return fmt.Errorf("%w: %d bytes", ErrMalformed, len(src))
	case src[0] > RowVersion:
		return fmt.Errorf("%w: row version %d, but this version supports only up to %d", ErrVersion, src[0], RowVersion)
	}
	return nil
}

// Decode replaces r with the row encoded in src, and reuses r's memory. It rejects rows that AppendBinary cannot have
// written: the counts of status codes and latencies must equal the row's count, and those of gRPC status codes must not
// exceed it. The error wraps [ErrMalformed] or [ErrVersion], and r is then empty.
func (r *Row) Decode(src []byte) error {
	r.Reset()
	if err := checkVersion(src); err != nil {
		return err
	}
	in := varint.Reader{Rest: src[1:]}
	for _, v := range [...]*uint64{&r.Count, &r.Errors, &r.Streams, &r.BytesIn, &r.BytesOut, &r.SumMicros, &r.MaxMicros} {
		*v = in.Uvarint()
	}
	if r.Count >= countMax || r.Errors > r.Count || r.Streams > r.Count {
		in.Fail()
	}
	r.decodeStatus(&in)
	r.decodeErrorTypes(&in)
	r.addEncodedTail(&in, src[0], r.Latency.addEncoded(&in), r.Count)
	if !in.Done() {
		r.Reset()
		return fmt.Errorf("%w: %d bytes that do not add up", ErrMalformed, len(src))
	}
	return nil
}

func (r *Row) decodeStatus(in *varint.Reader) {
	n := in.Length(statusMax)
	code, sum := uint64(0), uint64(0)
	for i := range n {
		step, responses := in.Uvarint(), nonZero(in)
		code += step
		if in.Bad || (i > 0 && step == 0) || code >= statusMax {
			in.Fail()
			return
		}
		sum += responses
		r.Status = append(r.Status, StatusCount{Code: uint16(code), Count: responses})
	}
	if sum != r.Count {
		in.Fail()
	}
}

func (r *Row) decodeErrorTypes(in *varint.Reader) {
	n := in.Length(ErrorTypesMax + 1)
	before, sum := "", uint64(0)
	for range n {
		kind, responses := string(in.Text(event.ErrorTypeBytesMax)), nonZero(in)
		if in.Bad || kind <= before {
			in.Fail()
			return
		}
		before = kind
		sum += responses
		r.ErrorTypes = append(r.ErrorTypes, TypeCount{Type: kind, Count: responses})
	}
	if sum > r.Errors {
		in.Fail()
	}
}

// nonZero reads a number that must not be zero, because zeros are not written.
func nonZero(in *varint.Reader) uint64 {
	v := in.Uvarint()
	if v == 0 || v >= countMax {
		in.Fail()
		return 0
	}
	return v
}
