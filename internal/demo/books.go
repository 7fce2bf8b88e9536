package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	settlePoll     = 50 * time.Millisecond
	requestTimeout = 15 * time.Second
	rowsMax        = 10_000 // limit of /api/v1/paths
	booksConnected = "connected"
)

// books queries the admin listener of wayside.
type books struct {
	client *http.Client
	admin  string // base URL
}

// accounting is the part of /api/v1/accounting that the demo needs.
type accounting struct {
	Responses   uint64          `json:"responses"`
	Recorded    uint64          `json:"recorded"`
	Dropped     json.RawMessage `json:"dropped"` // by reason
	Excluded    uint64          `json:"excluded"`
	Spooled     uint64          `json:"spooled"`
	Applied     uint64          `json:"applied"`
	Aggregated  uint64          `json:"aggregated"`
	Quarantined uint64          `json:"quarantined"`
	Archived    uint64          `json:"archived"`
	Deleted     uint64          `json:"deleted"`
	Settled     bool            `json:"settled"`
	Books       string          `json:"books"` // "connected", or why the books process is unavailable
}

// row is one row of /api/v1/paths.
type row struct {
	Host    string `json:"host"`
	Method  string `json:"method"`
	Path    string `json:"path"`
	Count   uint64 `json:"count"`
	Errors  uint64 `json:"errors"`
	Latency struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	} `json:"latency_us"`
}

func (r *row) isLive() bool { return strings.HasPrefix(r.Path, livePrefix) }

func (b *books) accounting(ctx context.Context) (a accounting, err error) {
	return a, b.get(ctx, "/api/v1/accounting", &a)
}

// pathRows is the response of /api/v1/paths.
type pathRows struct {
	Rows   int   `json:"rows"` // number of rows; the list may be shorter
	Paths  []row `json:"paths"`
	Totals struct {
		Count uint64 `json:"count"` // sum over all rows
	} `json:"totals"`
}

// sum adds up the rows. If the list is incomplete, it returns the total from the response instead.
func (p *pathRows) sum() uint64 {
	if p.Rows > len(p.Paths) {
		return p.Totals.Count
	}
	var n uint64
	for _, r := range p.Paths {
		n += r.Count
	}
	return n
}

// paths returns the rows of all hours.
func (b *books) paths(ctx context.Context) (p pathRows, err error) {
	query := url.Values{
		"from":  {time.Unix(0, 0).UTC().Format(time.RFC3339)},
		"to":    {time.Now().Add(2 * time.Hour).UTC().Truncate(time.Hour).Format(time.RFC3339)},
		"limit": {strconv.Itoa(rowsMax)},
		"sort":  {"count"},
	}
	return p, b.get(ctx, "/api/v1/paths?"+query.Encode(), &p)
}

// settled waits until the accounting has at least this many responses and nothing is in flight. The books process must be connected,
// because a wayside that has not recorded anything is settled even without a books process. After timeout, settled returns false and, if
// the last request failed, an error.
func (b *books) settled(ctx context.Context, responses uint64, timeout time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for answered := false; ; {
		a, err := b.accounting(ctx)
		if err == nil && a.Settled && a.Responses >= responses && a.Books == booksConnected {
			return true, nil
		}
		answered = answered || err == nil
		select {
		case <-time.After(settlePoll):
		case <-ctx.Done():
			// If a request fails because of the deadline, the earlier responses are still valid.
			if err != nil && !(answered && errors.Is(err, context.DeadlineExceeded)) {
				return false, fmt.Errorf("wait until the books have settled: %w", err)
			}
			return false, nil
		}
	}
}

func (b *books) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	target := strings.TrimSuffix(b.admin, "/") + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	response, err := b.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return fmt.Errorf("GET %s: status %d: %s", target, response.StatusCode, strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("GET %s: %w", target, err)
	}
	return nil
}
