package upstream

import "sync/atomic"

// A Budget limits retries to a fifth of the requests, so that they cannot multiply the load on servers that already fail. The zero value
// is ready. All methods may be called by any goroutine.
type Budget struct {
	spent atomic.Int64 // in requests; each retry costs retryCost of them, and each request pays one back
}

const (
	retryCost = 5
	// budgetMax is how much may be spent beyond what requests have paid: 100 retries, for a group with little traffic, or for the moment
	// in which a server fails.
	budgetMax = 100 * retryCost
)

// Request counts a request.
func (b *Budget) Request() {
	if b.spent.Load() > 0 { // usually not: then nothing is written that another processor reads
		b.spent.Add(-1)
	}
}

// Retry reports whether a request may be sent again, and counts that.
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
