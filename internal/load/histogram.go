package load

import (
	"math/bits"
	"time"
)

const (
	subBits     = 5            // 32 buckets for each power of two
	subBuckets  = 1 << subBits //
	bucketCount = (64 - subBits) * subBuckets
)

// Histogram counts durations in buckets whose width is at most 1/32 of their value, so the error of a quantile is at most 1.6 %. The zero
// value is empty. It is not safe for concurrent use.
type Histogram struct {
	buckets [bucketCount]uint64
	count   uint64
	sum     time.Duration
	max     time.Duration
}

// Add counts one duration; a negative one counts as zero.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucketOf(uint64(d))]++
	h.count++
	h.sum += d
	h.max = max(h.max, d)
}

// Merge adds the durations that o has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.count += o.count
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// Count returns the number of durations added.
func (h *Histogram) Count() uint64 { return h.count }

// Max returns the longest duration exactly, or 0 if there is none.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean returns the exact arithmetic mean, or 0 if there is no duration.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return h.sum / time.Duration(h.count)
}

// Quantile returns the duration that the share q (0 to 1) of all durations does not exceed, or 0 if there are no durations.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(min(max(q, 0), 1) * float64(h.count-1))
	for i, n := range h.buckets {
		if rank < n {
			return min(bucketMiddle(i), h.max)
		}
		rank -= n
	}
	return h.max
}

// bucketOf keeps the six leading bits of v. Each value below 64 has its own bucket; larger values share a bucket with neighboring
// values.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

func bucketMiddle(i int) time.Duration {
	if i < 2*subBuckets {
		return time.Duration(i)
	}
	shift := i>>subBits - 1
	low := uint64(i-shift<<subBits) << shift
	return time.Duration(low + uint64(1)<<shift/2)
}
