package stats

import (
	"fmt"

	"github.com/wayside-proxy/wayside/internal/event"
)

// AddEncoded adds a row that [Row.AppendBinary] wrote without decoding it first: what a query over many hours does for each
// path. The result is that of decoding and merging. The error wraps [ErrMalformed] or [ErrVersion]; what the bytes held
// before the misfit has then been added, so that a caller who reads rows without checksums must give the sum up.
func (r *Row) AddEncoded(src []byte) error {
	if err := checkVersion(src); err != nil {
		return err
	}
	in := reader{rest: src[1:]}
	count := in.uvarint()
	r.Count += count
	r.Errors += in.uvarint()
	r.Streams += in.uvarint()
	r.BytesIn += in.uvarint()
	r.BytesOut += in.uvarint()
	r.SumMicros += in.uvarint()
	r.MaxMicros = max(r.MaxMicros, in.uvarint())
	code := uint64(0)
	for range in.length(statusMax) {
		code += in.uvarint()
		r.addStatus(uint16(min(code, statusMax)), in.uvarint())
	}
	for range in.length(ErrorTypesMax + 1) {
		kind := in.text(event.ErrorTypeBytesMax)
		r.addErrorCount(kind, in.uvarint())
	}
	r.Latency.addEncoded(&in, count)
	if in.bad || len(in.rest) != 0 {
		return fmt.Errorf("%w: %d bytes that do not add up", ErrMalformed, len(src))
	}
	return nil
}

func (r *Row) addErrorCount(kind []byte, count uint64) {
	for i := range r.ErrorTypes {
		if r.ErrorTypes[i].Type == string(kind) {
			r.ErrorTypes[i].Count += count
			return
		}
	}
	r.addErrorType(string(kind), count)
}

// coverFirst is the least number of bins that a sum makes room for at a time, if its rows have so many.
const coverFirst = 128

// addEncoded adds the encoded latencies that in begins with, of which there must be total. Nearly all bins are two numbers
// of one byte each, a step and a count. That these are read without a call for each is what makes a day of a thousand paths
// quick to add up.
func (s *Sketch) addEncoded(in *reader, total uint64) {
	zeros := in.uvarint()
	if zeros > total {
		in.bad = true
	}
	s.zeros += zeros
	n := in.length(binsMax)
	index, sum := 0, zeros
	for left := n; left > 0; {
		src := in.rest
		for ; left > 0 && len(src) >= 2; left-- {
			step, count := src[0], src[1]
			i := index + int(step) - s.offset
			if (step|count) >= 0x80 || step == 0 || count == 0 || uint(i) >= uint(len(s.bins)) {
				break
			}
			src = src[2:]
			index += int(step)
			s.bins[i] += uint64(count)
			sum += uint64(count)
		}
		in.rest = src
		if left == 0 {
			break
		}
		step, count := in.uvarint(), in.count()
		if in.bad || (step == 0 && left < n) || step >= uint64(binsMax-index) { // index is below binsMax
			in.bad = true
			return
		}
		index += int(step)
		if uint(index-s.offset) >= uint(len(s.bins)) {
			s.cover(index, index+min(n, coverFirst)) // rather at once than step by step
		}
		s.bins[index-s.offset] += count
		sum += count
		left--
	}
	s.total += sum - zeros
	if sum != total {
		in.bad = true
	}
}
