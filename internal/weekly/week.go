// Package weekly writes the review of a week: totals, the trend, the slowest paths, the paths with the most errors, changes, and whether
// the books are complete. It queries the API of a running wayside, and writes text or a single HTML page that needs no other file.
//
// Attackers choose paths and hosts: text is made safe for a terminal, and everything in HTML is escaped.
package weekly

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/internal/terminal"
)

// Days is the length of the reviewed period in days.
const Days = 7

const (
	listed       = 5    // number of paths in a list
	changesShown = 10   // changes
	rowsAsked    = 2000 // paths.max is 1000 by default
	marksAsked   = 1000
	slowMin      = 100 // minimum number of responses for a path to be listed as slow
)

// Asker queries the API.
type Asker interface {
	// Ask returns the body of the response to a GET request.
	Ask(ctx context.Context, path string) ([]byte, error)
}

// Figures are the figures of a row, of a day, or of the whole week.
type Figures struct {
	Count   uint64            `json:"count"`
	Errors  uint64            `json:"errors"`
	Rate    float64           `json:"rate"`
	Seconds float64           `json:"seconds"`
	Dropped map[string]uint64 `json:"dropped,omitempty"`
	Latency struct {
		P50 uint64 `json:"p50"`
		P95 uint64 `json:"p95"`
		P99 uint64 `json:"p99"`
	} `json:"latency_us"`
}

// Row is one path with its figures.
type Row struct {
	Host   string `json:"host"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Route  string `json:"route,omitempty"`
	Figures
}

// Change is a path whose figures differ from the week before.
type Change struct {
	Kind string `json:"kind"` // failing, slower, new or vanished
	Row
	Before   Figures `json:"before"`
	Affected uint64  `json:"affected"`
}

// Day is a day of the trend.
type Day struct {
	Time time.Time `json:"time"` // beginning of the day
	Figures
}

// Mark is a named point in time.
type Mark struct {
	Time time.Time `json:"time"`
	Kind string    `json:"kind"`
	Text string    `json:"text"`
}

// Books records whether every response since the creation of the data directory is accounted for.
type Books struct {
	Responses   uint64 `json:"responses"`
	Recorded    uint64 `json:"recorded"`
	Dropped     uint64 `json:"dropped_total"`
	Quarantined uint64 `json:"quarantined"`
	Archived    uint64 `json:"archived"`
	Balanced    bool   `json:"balanced"`
}

// Week is the review of a week.
type Week struct {
	From         time.Time `json:"from"`
	To           time.Time `json:"to"`
	Totals       Figures   `json:"totals"`
	Before       Figures   `json:"before"` // the week before
	Days         []Day     `json:"days"`
	Busiest      []Row     `json:"busiest"`
	Slowest      []Row     `json:"slowest"` // by p95, with at least a hundred responses
	MostFailing  []Row     `json:"most_failing"`
	Changes      []Change  `json:"changes"`
	ChangesTotal int       `json:"changes_total"`
	Marks        []Mark    `json:"marks"`
	Books        Books     `json:"books"`
}

// Load queries the figures of the last week.
func Load(ctx context.Context, ask Asker) (*Week, error) {
	w := &Week{}
	// The API widens ranges to whole hours. So a range that is an hour shorter becomes exactly seven days, including the current hour,
	// and the week before ends where this one begins.
	from := fmt.Sprintf("from=-%dh", Days*24-1)
	var paths struct {
		From, To time.Time
		Totals   Figures
		Paths    []Row
	}
	if err := get(ctx, ask, fmt.Sprintf("/api/v1/paths?%s&limit=%d", from, rowsAsked), &paths); err != nil {
		return nil, err
	}
	w.From, w.To, w.Totals = paths.From, paths.To, paths.Totals
	w.rank(paths.Paths)
	var before struct{ Totals Figures }
	if err := get(ctx, ask, fmt.Sprintf("/api/v1/paths?from=-%dh&to=-%dh&limit=1", 2*Days*24-1, Days*24), &before); err != nil {
		return nil, err
	}
	w.Before = before.Totals
	var series struct{ Points []Day }
	if err := get(ctx, ask, "/api/v1/series?"+from+"&step=1d", &series); err != nil {
		return nil, err
	}
	w.Days = series.Points
	var changes struct {
		Total   int
		Changes []Change
	}
	if err := get(ctx, ask, fmt.Sprintf("/api/v1/changes?%s&limit=%d", from, changesShown), &changes); err != nil {
		return nil, err
	}
	w.Changes, w.ChangesTotal = changes.Changes, changes.Total
	var marks struct{ Marks []Mark }
	if err := get(ctx, ask, fmt.Sprintf("/api/v1/marks?%s&limit=%d", from, marksAsked), &marks); err != nil {
		return nil, err
	}
	w.Marks = marks.Marks
	return w, get(ctx, ask, "/api/v1/accounting", &w.Books)
}

func get(ctx context.Context, ask Asker, path string, into any) error {
	body, err := ask.Ask(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read the response to %s: %w", path, err)
	}
	return nil
}

// rank lists the top paths by count, latency and errors.
func (w *Week) rank(rows []Row) {
	first := func(keep func(*Row) bool, by func(*Row) uint64) []Row {
		var kept []Row
		for i := range rows {
			if keep(&rows[i]) {
				kept = append(kept, rows[i])
			}
		}
		slices.SortStableFunc(kept, func(a, b Row) int { return cmp.Compare(by(&b), by(&a)) })
		return kept[:min(listed, len(kept))]
	}
	w.Busiest = first(func(r *Row) bool { return r.Count > 0 }, func(r *Row) uint64 { return r.Count })
	w.Slowest = first(func(r *Row) bool { return r.Count >= slowMin }, func(r *Row) uint64 { return r.Latency.P95 })
	w.MostFailing = first(func(r *Row) bool { return r.Errors > 0 }, func(r *Row) uint64 { return r.Errors })
}

// covered returns the share of the week during which wayside was running and recording.
func (w *Week) covered() float64 {
	return min(w.Totals.Seconds/w.To.Sub(w.From).Seconds(), 1)
}

// busiestDay returns the number of requests on the busiest day, at least 1.
func (w *Week) busiestDay() uint64 {
	most := uint64(1)
	for i := range w.Days {
		most = max(most, w.Days[i].Count)
	}
	return most
}

// complete returns a sentence that says whether the books are complete.
func (w *Week) complete() string {
	b := &w.Books
	switch {
	case !b.Balanced:
		return "The books do not add up at the moment: GET /api/v1/accounting says which figures disagree (under traffic, ask again)."
	case b.Dropped > 0 || b.Quarantined > 0:
		return fmt.Sprintf("Every one of %s responses is accounted for; %s could not be recorded, and %s are in the quarantine.",
			terminal.Grouped(b.Responses), terminal.Grouped(b.Dropped), terminal.Grouped(b.Quarantined))
	}
	return fmt.Sprintf("Every one of %s responses is recorded.", terminal.Grouped(b.Responses))
}
