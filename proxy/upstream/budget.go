package upstream

import "sync/atomic"

// A Budget limits retries to a fifth of the requests, so that they cannot multiply the load on servers that are already failing. The zero value is
// ready to use. Any goroutine may call its methods.
type Budget struct {
	spent atomic.Int64 // counted in requests: each retry costs retryCost of them, and each request pays one back
}

const (
	retryCost = 5
	// budgetMax is how much may be spent in advance: 100 retries, for a group with little traffic, or for the moment when a server fails.
	budgetMax = 100 * retryCost
)

// Request counts a request.
func (b *Budget) Request() {
	if b.spent.Load() > 0 { // rarely true; the check avoids writing to memory that other CPUs read
		b.spent.Add(-1)
	}
}

// Retry reports whether a request may be sent again and, if so, counts the retry.
func (b *Budget) Retry() bool {
	for {
		spent := b.spent.Load()
		if max(spent, 0)+retryCost > budgetMax {
			return false
		}
		if b.spent.CompareAndSwap(spent, max(spent, 0)+retryCost) {
			return true
		}
	}
}
