package terminal

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The fields of the API's responses that are shown.
type (
	figures struct {
		Count, Errors uint64
		Rate          float64
		Status        map[string]uint64
		GRPC          map[string]uint64 // gRPC calls by status code
		BytesOut      uint64            `json:"bytes_out"`
		Dropped       map[string]uint64
		Latency       struct {
			P50, P90, P95, P99, Max uint64
		} `json:"latency_us"`
	}
	rowName struct {
		Host, Method, Path, Route string
	}
	row struct {
		rowName
		figures
		recent []uint32 // responses per step of the last half hour
		now    float64  // responses per second over the last ten seconds
	}
	pathsAnswer struct {
		From, To time.Time
		Rows     int
		Totals   figures
		Paths    []row
		unused   string // describes the servers that receive no requests; empty if there are no such servers
		failing  []incident
	}
	upstreamsAnswer struct {
		Groups []struct {
			Servers []struct{ Upstream, State string }
		}
	}
	// incident is a path that is currently failing or slower than usual.
	incident struct {
		Kind string
		rowName
		Since      time.Time
		Share      float64
		UsualShare float64 `json:"usual_share"`
		UsualCount uint64  `json:"usual_count"`
		P95        uint64  `json:"p95_us"`
		UsualP95   uint64  `json:"usual_p95_us"`
		Affected   uint64
	}
	activity struct {
		Count, Errors []uint32
		Rate          float64
	}
	recentAnswer struct {
		StepSeconds int           `json:"step_seconds"`
		shown       time.Duration // time shown: since the first response, but at least 5 and at most 30 minutes, or less soon after a start
		Totals      activity
		Paths       []struct {
			rowName
			activity
		}
	}
	seriesAnswer struct {
		Points []struct {
			Time time.Time
			figures
		}
		Totals figures
	}
)

// window is a time range that Top can show.
type window struct {
	name string
	from string // for queries of statistics
	step string // of the series of one path
}

// windows are exactly as long as their names indicate. The API widens a range to whole minutes (or hours, for more than two days), and
// the current minute is the last one. So a window of an hour begins with the minute of 59 minutes ago. The dashboard shows the same
// ranges.
var windows = []window{{"1h", "-59m", "1m"}, {"24h", "-1439m", "1h"}, {"7d", "-167h", "1d"}, {"30d", "-719h", "1d"}}

// WindowFrom returns the beginning of a window, by its name, for queries of statistics that end now. It returns "" for an unknown name.
func WindowFrom(name string) string {
	for _, w := range windows {
		if w.name == name {
			return w.from
		}
	}
	return ""
}

// rowsAsked is the maximum number of rows in one response; the default of paths.max is 1000.
const rowsAsked = 2000

// load requests the table for a window and the recent activity.
func load(ctx context.Context, ask Asker, w window) (*pathsAnswer, *recentAnswer, error) {
	var paths pathsAnswer
	if err := askFor(ctx, ask, fmt.Sprintf("/api/v1/paths?limit=%d&from=%s", rowsAsked, w.from), &paths); err != nil {
		return nil, nil, err
	}
	var recent recentAnswer
	if err := askFor(ctx, ask, "/api/v1/recent", &recent); err != nil {
		return nil, nil, err
	}
	var upstreams upstreamsAnswer
	if askFor(ctx, ask, "/api/v1/upstreams", &upstreams) == nil { // fails when an archive is served, because there are no servers
		paths.unused = upstreams.unused()
	}
	var failing struct{ Incidents []incident }
	if askFor(ctx, ask, fmt.Sprintf("/api/v1/failing?limit=%d", rowsAsked), &failing) == nil { // also fails when an archive is served
		paths.failing = failing.Incidents
	}
	skip := recent.trim()
	of := make(map[rowName]activity, len(recent.Paths))
	for _, p := range recent.Paths {
		p.Count = p.Count[min(skip, len(p.Count)):]
		of[p.rowName] = p.activity
	}
	for i := range paths.Paths {
		r := &paths.Paths[i]
		r.recent, r.now = of[r.rowName].Count, of[r.rowName].Rate
	}
	return &paths, &recent, nil
}

// route returns the route of a row as text that can be appended to its name. It is empty if there is no route.
func (n *rowName) route() string {
	if n.Route == "" {
		return ""
	}
	return "  route " + Safe(n.Route)
}

// unused describes the servers that receive no requests.
func (u *upstreamsAnswer) unused() string {
	var names []string
	all := 0
	for _, g := range u.Groups {
		for _, s := range g.Servers {
			if all++; s.State != "up" {
				names = append(names, s.Upstream+" ("+s.State+")")
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d servers receive no requests: %s", len(names), all, strings.Join(names, ", "))
}

// trim removes the steps before the first response, except for those of the last five minutes, and returns the number of removed steps.
func (r *recentAnswer) trim() int {
	counts := r.Totals.Count
	first := max(0, slices.IndexFunc(counts, func(n uint32) bool { return n > 0 }))
	skip := max(0, min(first, len(counts)-300/max(r.StepSeconds, 1)))
	r.Totals.Count = counts[skip:]
	r.shown = time.Duration(len(r.Totals.Count)*r.StepSeconds) * time.Second
	return skip
}

// detail is the data of one path.
type detail struct {
	name   rowName
	series seriesAnswer
	events []Event
}

func loadDetail(ctx context.Context, ask Asker, w window, name rowName) (*detail, error) {
	d := &detail{name: name}
	q := url.Values{"path": {name.Path}, "method": {name.Method}, "host": {name.Host}, "route": {name.Route}, "from": {w.from}, "step": {w.step}}
	if err := askFor(ctx, ask, "/api/v1/series?"+q.Encode(), &d.series); err != nil {
		return nil, err
	}
	q.Del("step")
	q.Set("from", "-"+w.name)
	q.Set("limit", "20")
	var events struct{ Events []Event }
	if err := askFor(ctx, ask, "/api/v1/events?"+q.Encode(), &events); err != nil {
		return nil, err
	}
	d.events = events.Events
	return d, nil
}

func askFor(ctx context.Context, ask Asker, path string, into any) error {
	body, err := ask.Ask(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read the response to %s: %w", path, err)
	}
	return nil
}
