package collector

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/wayside-proxy/wayside/internal/accounting"
	"github.com/wayside-proxy/wayside/spool"
)

// View returns the store's side of the accounting.
func (c *Collector) View(ctx context.Context) (accounting.View, error) {
	v, err := c.accounts.view(ctx)
	if err != nil {
		return v, fmt.Errorf("read the store's figures: %w", err)
	}
	for _, l := range c.o.Store.Ledgers() {
		v.Ledgers = append(v.Ledgers, spool.Ledger{
			Epoch: l.Epoch, Responses: l.Responses, Recorded: l.Recorded, Excluded: l.Excluded, Dropped: l.Dropped, Closed: true,
		})
	}
	return v, nil
}

// accountReader reads watermarks, totals and the sum over all rows as one consistent set.
type accountReader struct {
	store   Store
	storeMu *sync.Mutex
	reading chan struct{} // taken by the one reader
}

// viewTries is the number of attempts that view makes before it pauses the drain loop.
const viewTries = 3

// view repeats its reads until no event is applied during them. If events arrive too fast for that, it pauses the drain loop for one last
// attempt. Only one caller reads at a time, so even many clients cannot pause the drain loop again and again.
func (r *accountReader) view(ctx context.Context) (accounting.View, error) {
	select {
	case r.reading <- struct{}{}:
		defer func() { <-r.reading }()
	case <-ctx.Done():
		return accounting.View{}, ctx.Err()
	}
	for range viewTries {
		v, err := r.read(ctx)
		if err != nil || maps.Equal(r.store.Watermarks(), v.Applied) {
			return v, err
		}
	}
	r.storeMu.Lock()
	defer r.storeMu.Unlock()
	return r.read(ctx)
}

func (r *accountReader) read(ctx context.Context) (accounting.View, error) {
	applied := r.store.Watermarks()
	totals, aggregated, err := r.store.Account(ctx)
	return accounting.View{Applied: applied, Totals: accounting.Totals(totals), Aggregated: aggregated, Imported: r.store.ImportedResponses()}, err
}
