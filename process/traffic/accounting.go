package traffic

import (
	"context"

	"github.com/wayside-proxy/wayside/internal/accounting"
)

// accounting answers GET /api/v1/accounting.
func (t *traffic) accounting(ctx context.Context) (any, error) { return t.answer(ctx) }

func (t *traffic) answer(ctx context.Context) (*accounting.Answer, error) {
	a, err := t.accounts.Answer(ctx)
	if err == nil {
		a.Settled = a.Settled && t.proxy.Metrics().InFlight == 0
	}
	return a, err
}
