package api

import (
	"net/http"

	"github.com/wayside-proxy/wayside/collector/failing"
)

// failingAnswer is the body of GET /api/v1/failing.
type failingAnswer struct {
	failing.Report
	Total int `json:"total"` // incidents found; Incidents has at most limit of them
}

var failingParams = []string{"limit"}

// failing handles GET /api/v1/failing from memory.
func (h *handler) failing(r *http.Request) (any, error) {
	p := parseParams(r.URL.RawQuery, h.Now(), failingParams...)
	limit := p.limit()
	if p.err != nil {
		return nil, p.err
	}
	if h.Failing == nil {
		return nil, ErrUnavailable
	}
	answer := failingAnswer{Report: h.Failing()}
	answer.Total = len(answer.Incidents)
	answer.Incidents = answer.Incidents[:min(limit, answer.Total)]
	return answer, nil
}
