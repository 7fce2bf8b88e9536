package stats

import (
	"fmt"
	"math"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// AddEncoded adds a row that [Row.AppendBinary] wrote. The result is the same as after decoding and merging the row, but AddEncoded is
// faster. That matters because a query over many hours does this for each path and hour. The error wraps [ErrMalformed] or [ErrVersion].
// After an error, part of the row may have been added, so the caller must discard the sum.
func (r *Row) AddEncoded(src []byte) error {
	if err := checkVersion(src); err != nil {
		return err
	}
	in := varint.Reader{Rest: src[1:]}
	count := in.Uvarint()
	r.Count += count
	r.Errors += in.Uvarint()
	r.Streams += in.Uvarint()
	r.BytesIn += in.Uvarint()
	r.BytesOut += in.Uvarint()
	r.SumMicros += in.Uvarint()
	r.MaxMicros = max(r.MaxMicros, in.Uvarint())
	code := uint64(0)
	for range in.Length(statusMax) {
		code += in.Uvarint()
		r.addStatus(uint16(min(code, statusMax)), in.Uvarint())
	}
	for range in.Length(ErrorTypesMax + 1) {
		kind := in.Text(event.ErrorTypeBytesMax)
		r.addError(kind, in.Uvarint())
	}
	r.addEncodedTail(&in, src[0], r.Latency.addEncoded(&in), count)
	if !in.Done() {
		return fmt.Errorf("%w: %d bytes that do not add up", ErrMalformed, len(src))
	}
	return nil
}

// coverFirst is the maximum number of bins of an added row for which a sum makes room in one step.
const coverFirst = 128

// addEncoded adds the encoded latencies at the front of in, and returns how many there are. Nearly all bins are encoded as two numbers of
// one byte each, a step and a count. The inner loop reads these without a function call, because it takes most of the time when a day of
// a thousand paths is added up.
func (s *Sketch) addEncoded(in *varint.Reader) (latencies uint64) {
	zeros := in.Uvarint()
	if zeros >= countMax {
		in.Fail()
	}
	s.zeros += zeros
	n := in.Length(binsMax)
	index, sum := 0, zeros
	for left := n; left > 0; {
		src := in.Rest
		for ; left > 0 && len(src) >= 2; left-- {
			step, count := src[0], src[1]
			i := index + int(step) - s.offset
			if (step|count) >= 0x80 || step == 0 || count == 0 || uint(i) >= uint(len(s.low)) {
				break
			}
			total := uint32(s.low[i]) + uint32(count)
			if total > math.MaxUint16 {
				break
			}
			src = src[2:]
			index += int(step)
			s.low[i] = uint16(total)
			sum += uint64(count)
		}
		in.Rest = src
		if left == 0 {
			break
		}
		step, count := in.Uvarint(), nonZero(in)
		if in.Bad || (step == 0 && left < n) || step >= uint64(binsMax-index) { // index is less than binsMax
			in.Fail()
			return 0
		}
		index += int(step)
		if uint(index-s.offset) >= uint(len(s.low)) {
			s.cover(index, index+min(n, coverFirst)) // all at once rather than bin by bin
		}
		s.addAt(index-s.offset, count)
		sum += count
		left--
	}
	s.total += sum - zeros
	return sum
}
