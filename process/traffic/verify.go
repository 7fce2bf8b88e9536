package traffic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/internal/accounting"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/verify"
)

// verify answers POST /api/v1/verify: this process checks its spools, the books process its store and the archive.
func (t *traffic) verify(ctx context.Context, local bool) (any, error) {
	report := &verify.Report{Mode: "online"}
	spools, err := t.spool.Verify(ctx)
	if err != nil {
		return nil, err
	}
	report.Add(spools...)
	var checks []*verify.Check
	body, err := t.admin.AskBooks(ctx, http.MethodGet, fmt.Sprintf("%s?local=%t", admin.PathVerify, local))
	if err == nil {
		err = json.Unmarshal(body, &checks)
	}
	if err != nil {
		c := &verify.Check{Name: "books process", Of: "processes"}
		c.CannotMake("cannot be asked: %v", err)
		checks = append(checks, c)
	}
	report.Add(checks...)
	report.Add(t.verifyAccounting(ctx))
	report.Add(verify.Quarantine(filepath.Join(t.cfg.Data.Dir, datadir.Quarantine)))
	return report, nil
}

// verifyAccounting checks that the figures add up across both processes.
func (t *traffic) verifyAccounting(ctx context.Context) *verify.Check {
	c := &verify.Check{Name: "accounting", Of: "identities"}
	a, err := t.answer(ctx)
	if err != nil {
		c.Problem("%v", err)
		return c
	}
	for _, i := range a.Identities {
		c.Checked++
		if !i.Holds {
			c.Problem("%s does not hold: %+v", i.Name, a.Accounting)
		}
	}
	return c
}

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
