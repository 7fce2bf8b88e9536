package stats

import "github.com/wayside-proxy/wayside/internal/event"

// Sum adds up encoded rows without decoding them one by one: what a query over many hours does for each path. The zero
// value is empty and ready for use. It gives the same row as decoding and merging in any order.
type Sum struct {
	row    Row // all but the latency bins
	bins   []uint64
	offset int // bin that bins[0] counts
}

// binsGrain is by how many bins the window of a Sum grows.
const binsGrain = 64

// AddEncoded adds a row that [Row.AppendBinary] wrote. The error wraps ErrMalformed or ErrVersion; what the bytes held
// before the misfit has then been added, so that a caller who reads rows without checksums must give the sum up.
func (s *Sum) AddEncoded(src []byte) error {
	if err := checkVersion(src); err != nil {
		return err
	}
	in := reader{rest: src[1:]}
	r := &s.row
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
		r.addStatus(uint16(min(code, statusMax)), in.uvarint()) //nolint:gosec // bounded
	}
	for range in.length(ErrorTypesMax + 1) {
		kind := in.text(event.ErrorTypeBytesMax)
		r.addErrorCount(kind, in.uvarint())
	}
	s.row.Latency.zeros += in.uvarint()
	index := uint64(0)
	for range in.length(binsMax) {
		index += in.uvarint()
		s.addBin(int(min(index, binsMax-1)), in.uvarint()) //nolint:gosec // bounded
	}
	if in.bad || len(in.rest) != 0 {
		return ErrMalformed
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

func (s *Sum) addBin(index int, count uint64) {
	if i := index - s.offset; i >= 0 && i < len(s.bins) {
		s.bins[i] += count
		return
	}
	s.grow(index)
	s.bins[index-s.offset] += count
}

// grow makes room for a bin.
func (s *Sum) grow(index int) {
	from := index / binsGrain * binsGrain
	to := from + binsGrain
	if len(s.bins) > 0 {
		from, to = min(from, s.offset), max(to, s.offset+len(s.bins))
	}
	wider := make([]uint64, to-from)
	if len(s.bins) > 0 {
		copy(wider[s.offset-from:], s.bins)
	}
	s.bins, s.offset = wider, from
}

// Add adds a row.
func (s *Sum) Add(o *Row) {
	latency := s.row.Latency.zeros + o.Latency.zeros
	bins := s.row.Latency.bins
	o.Latency.Bins(func(index int, count uint64) { s.addBin(index, count) })
	s.row.addFigures(o)
	s.row.Latency = Sketch{zeros: latency, bins: bins}
}

// Count is the number of responses added.
func (s *Sum) Count() uint64 { return s.row.Count }

// Row returns the sum; the caller owns it. The Sum is empty afterwards.
func (s *Sum) Row() *Row {
	row := s.row
	for i, count := range s.bins {
		if count > 0 {
			row.Latency.addBin(s.offset+i, count)
		}
	}
	*s = Sum{}
	return &row
}
