package stats

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/DataDog/sketches-go/ddsketch/mapping"
)

// Bin i of a sketch counts latencies in [2^(i/32), 2^((i+1)/32)) microseconds. So the error of a value from a sketch is at most
// (gamma-1)/(gamma+1) = 1.083 %, with gamma = 2^(1/32) and offset 0. The boundaries are those of a DDSketch with a logarithmic mapping,
// and of a Prometheus native histogram with schema 5.
const (
	// BinsPerDoubling is the number of bins from a latency to twice that latency.
	BinsPerDoubling = 32
	// binsMax limits a sketch to 40 doublings, from 1 µs to 12.7 days. Longer latencies are counted in the last bin; the exact maximum is
	// in the row. Because no index exceeds the limit, bins are never combined, and merging gives the same bins in any order.
	binsMax = 40 * BinsPerDoubling
)

// boundaries[j] is 2^63 * 2^(j/32), rounded up: the beginning of bin j within a doubling. Every machine must put a latency into the same
// bin, but floating-point logarithms differ in the last digit between architectures. Therefore, the boundaries are constants, and [binOf]
// uses only integers. The boundaries are part of the format.
var boundaries = [BinsPerDoubling]uint64{
	0x8000000000000000, 0x82cd8698ac2ba1d8, 0x85aac367cc487b15, 0x88980e8092da8528,
	0x8b95c1e3ea8bd6e7, 0x8ea4398b45cd53c1, 0x91c3d373ab11c337, 0x94f4efa8fef70962,
	0x9837f0518db8a970, 0x9b8d39b9d54e5539, 0x9ef5326091a111ae, 0xa27043030c496819,
	0xa5fed6a9b15138eb, 0xa9a15ab4ea7c0ef9, 0xad583eea42a14ac7, 0xb123f581d2ac2590,
	0xb504f333f9de6485, 0xb8fbaf4762fb9eea, 0xbd08a39f580c36bf, 0xc12c4cca66709457,
	0xc5672a115506dade, 0xc9b9bd866e2f27a3, 0xce248c151f8480e4, 0xd2a81d91f12ae45b,
	0xd744fccad69d6af5, 0xdbfbb797daf23756, 0xe0ccdeec2a94e112, 0xe5b906e77c8348a9,
	0xeac0c6e7dd24392f, 0xefe4b99bdcdaf5cc, 0xf5257d152486cc2d, 0xfa83b2db722a033b,
}

// firstGuess holds, for each value of the six bits that follow the leading bit, the bin of the smallest number with these bits. The range
// of numbers with the same six bits is narrower than a bin, so the correct bin is either this one or the next.
var firstGuess = func() (cells [64]uint8) {
	for c := range cells {
		smallest := 1<<63 | uint64(c)<<57
		for j := BinsPerDoubling - 1; j > 0; j-- {
			if smallest >= boundaries[j] {
				cells[c] = uint8(j) // less than 32
				break
			}
		}
	}
	return cells
}()

// latencyMapping turns the index of a bin into the value that represents it.
var latencyMapping = func() *mapping.LogarithmicMapping {
	m, err := mapping.NewLogarithmicMappingWithGamma(math.Exp2(1.0/BinsPerDoubling), 0)
	if err != nil {
		panic(err) // cannot happen: gamma is a constant above 1
	}
	return m
}()

// binOf returns the bin of a latency of at least one microsecond.
func binOf(micros uint64) int {
	exponent := bits.Len64(micros) - 1
	mantissa := micros << (63 - exponent)
	j := int(firstGuess[mantissa>>57&63])
	if j+1 < BinsPerDoubling && mantissa >= boundaries[j+1] {
		j++
	}
	return min(exponent*BinsPerDoubling+j, binsMax-1)
}

// Sketch is a mergeable summary of latencies: counts in logarithmic bins, at most [binsMax] of them. The zero value is
// empty and ready for use. A Sketch must not be copied after its first use.
//
// Thousands of sketches are in memory, and few bins ever count more than a handful of latencies. So a bin takes up two bytes, and the part
// of a count that does not fit is in a second slice, which most sketches never need.
type Sketch struct {
	zeros  uint64   // latencies below a microsecond
	total  uint64   // sum over all bins
	low    []uint16 // the lower 16 bits of the counts
	high   []uint64 // the rest of the counts, as long as low; empty if every count fits into low
	offset int      // index of the bin that low[0] counts
}

const (
	// binsGrain is the multiple to which the ends of the window of bins are rounded.
	binsGrain = 16
	lowBits   = 16
)

// Add counts one latency. It allocates only for a bin outside the window, and when a count exceeds 16 bits for the first time.
func (s *Sketch) Add(micros uint64) {
	if micros == 0 {
		s.zeros++
		return
	}
	s.addBin(binOf(micros), 1)
}

// addBin adds to the count of a bin. index must be less than binsMax.
func (s *Sketch) addBin(index int, count uint64) {
	if uint(index-s.offset) >= uint(len(s.low)) {
		s.cover(index, index+1)
	}
	s.addAt(index-s.offset, count)
	s.total += count
}

// addAt adds to the count of the bin at a position of the window.
func (s *Sketch) addAt(i int, count uint64) {
	sum := uint64(s.low[i]) + count&math.MaxUint16
	s.low[i] = uint16(sum & math.MaxUint16)
	if carry := sum>>lowBits + count>>lowBits; carry > 0 {
		s.addHigh(i, carry)
	}
}

// addHigh adds to the part of a count that is not in low.
func (s *Sketch) addHigh(i int, carry uint64) {
	if len(s.high) == 0 {
		s.high = resized(s.high, len(s.low))
		clear(s.high)
	}
	s.high[i] += carry
}

// at returns the count of the bin at a position of the window.
func (s *Sketch) at(i int) uint64 {
	count := uint64(s.low[i])
	if len(s.high) > 0 {
		count += s.high[i] << lowBits
	}
	return count
}

// cover extends the window to include the bins [from, to). It adds another half of the window's size, because the window may have to grow
// again.
func (s *Sketch) cover(from, to int) {
	old := len(s.low)
	if old > 0 {
		if from < s.offset {
			from -= old / 2
		}
		if to > s.offset+old {
			to += old / 2
		}
		from, to = min(from, s.offset), max(to, s.offset+old)
	} else {
		to = max(to, from+cap(s.low)-binsGrain) // memory left from an earlier use
	}
	from = max(from, 0) / binsGrain * binsGrain
	to = min((to+binsGrain-1)/binsGrain*binsGrain, binsMax)
	shift := s.offset - from
	s.low = widened(s.low, to-from, shift)
	if len(s.high) > 0 {
		s.high = widened(s.high, to-from, shift)
	}
	s.offset = from
}

// widened returns a slice with n counts. The old counts are at the position shift, and all others are zero. It reuses the memory of the
// old slice if that is large enough.
func widened[T any](counts []T, n, shift int) []T {
	old := len(counts)
	wider := resized(counts, n)
	if old == 0 {
		clear(wider)
		return wider
	}
	copy(wider[shift:], counts) // source and destination may overlap
	clear(wider[:shift])
	clear(wider[shift+old:])
	return wider
}

// resized returns a slice with n elements of any value. It reuses the memory of the given slice if that is large enough.
func resized[T any](counts []T, n int) []T {
	if cap(counts) < n {
		return make([]T, n)
	}
	return counts[:n]
}

// ErrBin means that a sketch has no such bin.
var ErrBin = errors.New("no such latency bin")

// AddBin adds latencies by the index of their bin (see [Sketch.Bins]). The error wraps [ErrBin].
func (s *Sketch) AddBin(index int, count uint64) error {
	if index < 0 || index >= binsMax {
		return fmt.Errorf("%w: %d of %d", ErrBin, index, binsMax)
	}
	if count > 0 {
		s.addBin(index, count)
	}
	return nil
}

// AddBelow adds latencies below one microsecond (see [Sketch.Zeros]).
func (s *Sketch) AddBelow(count uint64) { s.zeros += count }

// Merge adds the latencies of o. The result does not depend on the order of merging.
func (s *Sketch) Merge(o *Sketch) {
	s.zeros += o.zeros
	first, end := 0, len(o.low)
	for first < end && o.at(first) == 0 {
		first++
	}
	for first < end && o.at(end-1) == 0 {
		end--
	}
	if first == end {
		return
	}
	from, n := o.offset+first, end-first
	if from < s.offset || from+n > s.offset+len(s.low) {
		s.cover(from, from+n)
	}
	at := from - s.offset
	ours := s.low[at:][:n]
	for i, count := range o.low[first:end] {
		sum := uint32(ours[i]) + uint32(count)
		ours[i] = uint16(sum & math.MaxUint16)
		if sum > math.MaxUint16 {
			s.addHigh(at+i, 1)
		}
	}
	if len(o.high) > 0 {
		for i, count := range o.high[first:end] {
			if count > 0 {
				s.addHigh(at+i, count)
			}
		}
	}
	s.total += o.total
}

// AtLeast returns the number of latencies in the bin of the given latency and in all later bins. So the result can include latencies that
// are up to 2.2 % shorter than the given one.
func (s *Sketch) AtLeast(micros uint64) (n uint64) {
	if micros == 0 {
		return s.Count()
	}
	for i := max(binOf(micros)-s.offset, 0); i < len(s.low); i++ {
		n += s.at(i)
	}
	return n
}

// Count returns the number of latencies.
func (s *Sketch) Count() uint64 { return s.zeros + s.total }

// Quantile returns the latency, in microseconds, that the share q of all latencies does not exceed, accurate to 1.1 %, or 0 for an empty
// sketch. A q below 0 or above 1 counts as 0 or 1.
func (s *Sketch) Quantile(q float64) float64 {
	var out [1]float64
	s.Quantiles(out[:], q)
	return out[0]
}

// Quantiles is like Quantile for several ascending shares, but visits the bins only once. dst must have room for one result per share.
func (s *Sketch) Quantiles(dst []float64, shares ...float64) {
	n := s.Count()
	// ranked returns the number of latencies in bins that are below the one at a share, or false if that one is in no bin.
	ranked := func(share float64) (below uint64, inBin bool) {
		rank := min(max(share, 0), 1) * float64(max(n, 1)-1)
		if n == 0 || rank < float64(s.zeros) {
			return 0, false
		}
		return uint64(rank) - s.zeros, true
	}
	seen, bin := uint64(0), -1 // number of latencies in the bins up to bin
	for i, share := range shares {
		below, inBin := ranked(share)
		if !inBin {
			dst[i] = 0
			continue
		}
		for seen <= below && bin+1 < len(s.low) {
			bin++
			seen += s.at(bin)
		}
		dst[i] = latencyMapping.Value(s.offset + bin)
	}
}

// Bins calls fn for every bin that is not empty, in ascending order, with its index i and the number of its latencies,
// which lie in [2^(i/32), 2^((i+1)/32)) microseconds. Latencies below one microsecond are in no bin (see Zeros).
func (s *Sketch) Bins(fn func(index int, count uint64)) {
	for i := range s.low {
		if count := s.at(i); count > 0 {
			fn(s.offset+i, count)
		}
	}
}

// Zeros returns the number of latencies below one microsecond.
func (s *Sketch) Zeros() uint64 { return s.zeros }

// reset empties the sketch and keeps its memory.
func (s *Sketch) reset() { s.zeros, s.total, s.low, s.high = 0, 0, s.low[:0], s.high[:0] }

// memoryBytes returns the memory of the counts.
func (s *Sketch) memoryBytes() int { return 2*cap(s.low) + 8*cap(s.high) }
