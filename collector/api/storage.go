package api

import (
	"net/http"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
)

func (h *handler) storage(r *http.Request) (any, error) {
	if err := noParameters(r); err != nil {
		return nil, err
	}
	if h.Storage == nil {
		return nil, ErrUnavailable
	}
	return h.Storage(r.Context())
}

// archivesAnswer is the body of GET /api/v1/archives: the newest plans first, and totals over all plans.
type archivesAnswer struct {
	Objects  int            `json:"objects"` // number in the catalogue; Archives lists at most limit of them
	Rows     uint64         `json:"rows"`
	Bytes    uint64         `json:"bytes"` // total size of the objects whose size is known
	States   map[string]int `json:"states"`
	Archives []archive      `json:"archives"`
}

// archive is a plan as the API shows it: times are in RFC 3339 format, durations in microseconds. It omits the store's blocks, which make
// up most of a plan and mean nothing outside the store.
type archive struct {
	*catalogue.Plan
	Hour     time.Time `json:"hour"`
	Blocks   *struct{} `json:"blocks,omitempty"`
	Observed int64     `json:"observed_us,omitempty"`
	Nanos    *struct{} `json:"observed_ns,omitempty"`
}

func archiveOf(p *catalogue.Plan) archive {
	return archive{Plan: p, Hour: stats.HourStart(p.Hour), Observed: p.Observed.Microseconds()}
}

var archivesParams = []string{"limit", "state"}

// archives lists the newest plans. It keeps at most twice the limit of them in memory.
func (h *handler) archives(r *http.Request) (any, error) {
	p := parseParams(r.URL.RawQuery, h.Now(), archivesParams...)
	limit, state := p.limit(), catalogue.State(p.text("state"))
	switch state {
	case "", catalogue.Planned, catalogue.Verified, catalogue.Deleted:
	default:
		p.fail("state=%q is not one of planned, verified, deleted", state)
	}
	if p.err != nil {
		return nil, p.err
	}
	if h.Plans == nil {
		return nil, ErrUnavailable
	}
	answer := archivesAnswer{States: map[string]int{}, Archives: []archive{}}
	ring := make([]*catalogue.Plan, 0, min(limit, 1024))
	err := h.Plans.Plans(r.Context(), func(plan *catalogue.Plan) error {
		answer.Objects++
		answer.Rows += plan.Rows
		answer.Bytes += plan.ObjectBytes
		answer.States[string(plan.State)]++
		if state != "" && plan.State != state {
			return nil
		}
		kept := *plan
		kept.Blocks = nil // blocks make up most of a plan and are not shown
		ring = append(ring, &kept)
		if len(ring) >= 2*limit {
			ring = ring[:copy(ring, ring[len(ring)-limit:])]
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := len(ring) - 1; i >= max(0, len(ring)-limit); i-- {
		answer.Archives = append(answer.Archives, archiveOf(ring[i]))
	}
	return answer, nil
}
