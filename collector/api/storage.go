package api

import (
	"net/http"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// Storage says what the data directory takes and how long it will last.
type Storage struct {
	MeasuredAt time.Time `json:"measured_at"`
	// Bytes allocated on disk by part: spool, store, quarantine, archive, other.
	Bytes      map[string]int64  `json:"bytes"`
	BytesTotal int64             `json:"bytes_total"`
	BytesMax   int64             `json:"bytes_max"`  // data.bytes_max; 0: no limit
	FreeBytes  int64             `json:"free_bytes"` // of the filesystem
	FreeMin    int64             `json:"free_min"`   // data.free_min; 0: no limit
	RoomBytes  int64             `json:"room_bytes"` // kept below bytes_max for what grows while applying pauses
	Counts     map[string]uint64 `json:"counts"`     // events by part: spooled, applied, archived, deleted, …
	State      string            `json:"state"`      // "running", or why applying pauses
	// Growth over the last days, as in the capacity report: 0 until measurements span an hour. DaysLeft is absent while
	// nothing grows.
	GrowthBytesPerDay float64  `json:"growth_bytes_per_day"`
	DaysLeft          *float64 `json:"days_left,omitempty"`
	Limit             string   `json:"limit,omitempty"` // which one is reached first
	// Refill is there while, and after, this process brings back what a damaged store had.
	Refill *Refill `json:"refill,omitempty"`
}

// Refill says how far a store that began empty, because the one before it was damaged, has been filled again from the archive.
type Refill struct {
	Due         bool      `json:"due"`               // older hours are still coming back
	Waiting     string    `json:"waiting,omitempty"` // why it cannot go on at the moment
	Objects     int       `json:"objects"`           // of the archive that are to be read, and how many are
	ObjectsDone int       `json:"objects_done"`
	Responses   uint64    `json:"responses"`     // brought back by this process
	Hour        time.Time `json:"hour,omitzero"` // of the object that came last; the newest hours come first
	Problems    int       `json:"problems"`      // objects that cannot be brought back; the log names them
}

func (h *handler) storage(r *http.Request) (any, error) {
	if err := noParameters(r); err != nil {
		return nil, err
	}
	if h.Storage == nil {
		return nil, ErrUnavailable
	}
	return h.Storage(r.Context())
}

// archivesAnswer is the body of GET /api/v1/archives: the newest plans first, with totals over all of them.
type archivesAnswer struct {
	Objects  int            `json:"objects"` // in the catalogue; limit may list fewer
	Rows     uint64         `json:"rows"`
	Bytes    uint64         `json:"bytes"` // of the objects, where known
	States   map[string]int `json:"states"`
	Archives []archive      `json:"archives"`
}

// archive is a plan as the API gives it: times are RFC 3339, lengths of time in microseconds, and the blocks of the store, which are
// the bulk of a plan, are nobody else's affair.
type archive struct {
	*catalogue.Plan
	Hour     time.Time `json:"hour"`
	Blocks   *struct{} `json:"blocks,omitempty"`
	Observed int64     `json:"observed_us,omitempty"`
	Nanos    *struct{} `json:"observed_ns,omitempty"`
}

func archiveOf(p *catalogue.Plan) archive {
	return archive{Plan: p, Hour: hourTime(p.Hour), Observed: p.Observed.Microseconds()}
}

var archivesParams = []string{"limit", "state"}

// archives lists the newest plans. Only as many as the limit are held at a time.
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
		kept.Blocks = nil // the bulk of a plan, and not shown
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
