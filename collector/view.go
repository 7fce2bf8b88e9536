package collector

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
)

// View is what the store says of itself at one moment between two transactions. The traffic process joins it with the
// ledgers of its spools, read relative to Applied.
type View struct {
	Applied    map[uuid.UUID]uint64 `json:"applied"` // watermarks: epoch → last sequence number that is in the store
	Totals     store.Totals         `json:"totals"`
	Aggregated uint64               `json:"aggregated"` // summed over the rows
	Ledgers    []store.Ledger       `json:"ledgers"`    // of retired epochs
}

// View reads the store's side of the accounting.
func (c *Collector) View(ctx context.Context) (View, error) {
	v, err := c.view(ctx)
	if err != nil {
		return View{}, fmt.Errorf("read the store's figures: %w", err)
	}
	return View{Applied: v.applied, Totals: v.totals, Aggregated: v.aggregated, Ledgers: c.o.Store.Ledgers()}, nil
}
