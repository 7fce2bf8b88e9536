package traffic

import (
	"context"
	"time"

	"github.com/wayside-proxy/wayside/internal/accounting"
)

// accounting answers GET /api/v1/accounting.
func (t *traffic) accounting(ctx context.Context) (any, error) { return t.answer(ctx) }

// balanceInterval is how often the figures are added up for the metrics.
const balanceInterval = time.Minute

// keepBalance adds the figures up now and then, and at the beginning as soon as there are any.
func (t *traffic) keepBalance(ctx context.Context) error {
	for {
		a, err := t.answer(ctx)
		wait := balanceInterval
		if err == nil && a.Books == "connected" {
			t.balanced.Store(&a.Balanced)
		} else {
			t.balanced.Store(nil)
			wait = pingInterval
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (t *traffic) answer(ctx context.Context) (*accounting.Answer, error) {
	a, err := t.accounts.Answer(ctx)
	if err == nil {
		a.Settled = a.Settled && t.proxy.Metrics().InFlight == 0
	}
	return a, err
}
