package accounting

import (
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/spool"
)

// View is what the store holds at one moment between two transactions. The ledgers of the spools are read relative to Applied.
type View struct {
	Applied    map[uuid.UUID]uint64 `json:"applied"` // watermarks: epoch → last sequence number that is in the store
	Totals     Totals               `json:"totals"`
	Aggregated uint64               `json:"aggregated"` // summed over the rows
	Ledgers    []spool.Ledger       `json:"ledgers"`    // the final ones of retired epochs; the zero epoch's is the sum of the oldest
}

// Totals are the store's counts of responses since it was made.
type Totals struct {
	Applied     uint64 `json:"applied"`     // in the rows
	Quarantined uint64 `json:"quarantined"` // set aside, because they could not be applied
	Archived    uint64 `json:"archived"`    // applied, and verified in the archive
	Deleted     uint64 `json:"deleted"`     // archived, and removed from the store
}
