package api

import (
	"strconv"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// binPointsMax is the maximum number of points in a series with latency bins. It limits the bins of a response to 3 MB of memory.
const binPointsMax = 1000

// latencyBins is the latency distribution at one point of a series, for a heat map. Element i of Counts is the number of latencies from
// 2^((Start+i)/n) up to, but not including, 2^((Start+i+1)/n) microseconds, where n is the number of bins per doubling that was
// requested. Counts begins and ends with a bin that is not empty. Responses without a latency are not included.
type latencyBins struct {
	Zeros  uint64   `json:"zeros,omitempty"` // latencies below a microsecond: requests that the service never received
	Start  int      `json:"start"`
	Counts []uint64 `json:"counts"` // at most 40 per bin of a doubling
}

// latencyBinsOf combines the bins of a sketch into n bins per doubling; n must divide [stats.BinsPerDoubling].
func latencyBinsOf(s *stats.Sketch, n int) *latencyBins {
	b := &latencyBins{Zeros: s.Zeros(), Counts: []uint64{}}
	s.Bins(func(index int, count uint64) {
		at := index * n / stats.BinsPerDoubling
		if len(b.Counts) == 0 {
			b.Start = at
		}
		for len(b.Counts) <= at-b.Start {
			b.Counts = append(b.Counts, 0)
		}
		b.Counts[at-b.Start] += count
	})
	return b
}

// bins reads the number of latency bins per doubling; 0 means none.
func (p *params) bins() int {
	text := p.text("bins")
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n != 1 && n != 2 && n != 4 && n != 8 {
		p.fail("bins=%q must be 1, 2, 4 or 8 per doubling of the latency", text)
	}
	return n
}
