package traffic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/internal/accounting"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/verify"
	"github.com/wayside-proxy/wayside/proxy"
	"github.com/wayside-proxy/wayside/spool"
)

// audit reports and verifies the figures of both processes. It requests the figures of the store from the books process.
type audit struct {
	spool      *spool.Set
	proxy      *proxy.Proxy
	admin      *admin.Server
	files      *fileWatch
	quarantine string // path of the quarantine folder
	accounts   accounting.Joiner

	balanced atomic.Pointer[bool] // whether the figures added up when they were last checked; nil if that is unknown
}

// verify serves POST /api/v1/verify: this process checks its spools, and the books process checks its store and the archive.
func (a *audit) verify(ctx context.Context, local bool) (any, error) {
	report := &verify.Report{Mode: "online"}
	spools, err := a.spool.Verify(ctx)
	if err != nil {
		return nil, err
	}
	report.Add(spools...)
	var checks []*verify.Check
	body, err := a.admin.AskBooks(ctx, http.MethodGet, fmt.Sprintf("%s?local=%t", admin.PathVerify, local))
	if err == nil {
		err = json.Unmarshal(body, &checks)
	}
	if err != nil {
		c := &verify.Check{Name: "books process", Of: "processes"}
		c.CannotMake("cannot be reached: %v", err)
		checks = append(checks, c)
	}
	report.Add(checks...)
	report.Add(a.files.verify(), a.verifyIdentities(ctx), verify.Quarantine(a.quarantine))
	return report, nil
}

// verifyIdentities checks that the figures add up across both processes.
func (a *audit) verifyIdentities(ctx context.Context) *verify.Check {
	c := &verify.Check{Name: "accounting", Of: "identities"}
	answer, err := a.answer(ctx)
	if err != nil {
		c.Problem("%v", err)
		return c
	}
	for _, i := range answer.Identities {
		c.Checked++
		if !i.Holds {
			c.Problem("%s does not hold: %+v", i.Name, answer.Accounting)
		}
	}
	return c
}

// balanceInterval is the time between two checks of whether the figures add up. The result is used in the metrics.
const balanceInterval = time.Minute

// balance checks at intervals whether the figures add up. The first check runs as soon as the books process has reported its figures.
func (a *audit) balance(ctx context.Context) {
	for {
		answer, err := a.answer(ctx)
		wait := balanceInterval
		if err == nil && answer.Books == "connected" {
			a.balanced.Store(&answer.Balanced)
		} else {
			a.balanced.Store(nil)
			wait = pingInterval
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// answer returns the response body for GET /api/v1/accounting.
func (a *audit) answer(ctx context.Context) (*accounting.Answer, error) {
	answer, err := a.accounts.Answer(ctx)
	if err == nil {
		answer.Settled = answer.Settled && a.proxy.Metrics().InFlight == 0
	}
	return answer, err
}
