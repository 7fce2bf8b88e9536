package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/e2e"
)

// table holds the parts of the response to GET /api/v1/paths that the proof needs.
type table struct {
	Rows   int `json:"rows"`
	Totals struct {
		Count uint64 `json:"count"`
	} `json:"totals"`
	Paths []tableRow `json:"paths"`

	least, most uint64 // the smallest and largest number of responses of a real route under its own name
	all         int    // number of routes with all responses under their own name
	others      int    // number of rows that do not belong to a route
}

// routeLeast is the number of responses that a real route must have under its own name: all except the first. The first can be under a
// placeholder, because a name among a million values can be recognized only when it occurs again.
const routeLeast = routeTimes - 1

type tableRow struct {
	Method, Path string
	Count        uint64
	BytesOut     uint64 `json:"bytes_out"`
}

// flood sends random URLs and then the routes. It compares the books at the end, after a restart and after a rebuild.
func flood(ctx context.Context, dir string, o options) (string, error) {
	if o.requests == 0 {
		o.requests = 1_000_000
	}
	r, err := startRig(ctx, dir, o)
	if err != nil {
		return "", err
	}
	defer r.stop()
	w := r.w
	sent, err := sendFlood(ctx, w, o)
	r.memory.stop()
	if err != nil {
		return "", err
	}
	flat, flatErr := r.memory.flat()
	first, err := checkTable(ctx, w, sent)
	measured := fmt.Sprintf("%d responses, %d SIGKILLs; %d rows shown, %s; PSS: %s", sent, o.kills, first.Rows, first.routes(), flat)
	if err = errors.Join(err, flatErr); err != nil {
		return measured, err
	}
	if err := w.Stop(time.Minute); err != nil {
		return measured, err
	}
	if err := w.Start(ctx); err != nil {
		return measured, err
	}
	again, err := checkTable(ctx, w, sent)
	if err != nil {
		return measured, fmt.Errorf("after a restart: %w", err)
	}
	if err := same(first, again); err != nil {
		return measured, fmt.Errorf("after a restart: %w", err)
	}
	rebuilt, err := r.rebuild(ctx, sent)
	if err == nil {
		err = alike(again, rebuilt)
	}
	if err != nil {
		return measured, fmt.Errorf("rebuilt from the archive: %w", err)
	}
	return fmt.Sprintf("%s; the same rows after a restart; rebuilt from the archive's events %d rows, %s", measured, rebuilt.Rows, rebuilt.routes()), nil
}

// sendFlood sends the random URLs and then the routes. It kills the books process during the first part.
func sendFlood(ctx context.Context, w *e2e.Wayside, o options) (sent uint64, err error) {
	counters := new(load.Counters)
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		for i := range o.kills {
			for counters.Received.Load() < o.requests*uint64(i+1)/uint64(o.kills+1) {
				select {
				case <-ctx.Done():
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
			w.KillBooks()
		}
	}()
	anyResponse := func(uint64, *load.Response) error { return nil }
	report, err := load.Run(ctx, load.Options{
		Address: w.Listen, Host: "flood.example", Connections: 32, Requests: o.requests, Counters: counters, Verify: anyResponse,
		Request: func(nonce uint64, r *load.Request) { r.Path = randomPath(r.Path, o.seed, nonce) },
	})
	if err != nil {
		return 0, err
	}
	<-killed
	routes, err := load.Run(ctx, load.Options{
		Address: w.Listen, Host: "flood.example", Connections: 8, Requests: routesMany * routeTimes,
		Request: func(nonce uint64, r *load.Request) { r.Path = append(r.Path, route(int(nonce%routesMany))...) },
	})
	if err != nil {
		return 0, err
	}
	sent = report.Received + routes.Received
	if sent != o.requests+routesMany*routeTimes {
		return sent, fmt.Errorf("%d responses to %d requests", sent, o.requests+routesMany*routeTimes)
	}
	return sent, nil
}

// checkTable waits until the books have settled, and then checks the table: it must have every route, no more rows than allowed, and exact
// sums.
func checkTable(ctx context.Context, w *e2e.Wayside, sent uint64) (table, error) {
	settle, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	a, err := w.AwaitSettled(settle)
	if err != nil {
		return table{}, err
	}
	if a.Responses != sent || a.Aggregated != sent {
		return table{}, fmt.Errorf("%d responses, %d in the rows, %d were sent", a.Responses, a.Aggregated, sent)
	}
	return readTable(ctx, w, sent)
}

func readTable(ctx context.Context, w *e2e.Wayside, sent uint64) (table, error) {
	body, err := w.Ask(ctx, http.MethodGet, "/api/v1/paths?limit=10000&from=-48h")
	var t table
	if err == nil {
		err = json.Unmarshal(body, &t)
	}
	if err != nil {
		return t, err
	}
	counts, sum := map[string]uint64{}, uint64(0)
	for _, row := range t.Paths {
		counts[row.Path] += row.Count
		sum += row.Count
	}
	var errs []error
	t.others = len(counts) - routesMany
	for path := range counts {
		if randomWord.MatchString(path) {
			errs = append(errs, fmt.Errorf("the random path %s has its own row", path))
		}
	}
	t.least = routeTimes
	for i := range routesMany {
		got := counts[route(i)]
		t.least, t.most = min(t.least, got), max(t.most, got)
		if got == routeTimes {
			t.all++
		}
		if got < routeLeast || got > routeTimes {
			errs = append(errs, fmt.Errorf("%s has %d of %d responses", route(i), got, routeTimes))
		}
	}
	if sum != sent || t.Totals.Count != sent {
		errs = append(errs, fmt.Errorf("the rows add up to %d, the totals are %d, %d were sent", sum, t.Totals.Count, sent))
	}
	if t.Rows > rowsMax+1 {
		errs = append(errs, fmt.Errorf("%d rows are shown, which is more than %d and (other)", t.Rows, rowsMax))
	}
	return t, errors.Join(errs...)
}

// randomWord matches a word made by randomPath. No route and no placeholder contains such a word.
var randomWord = regexp.MustCompile(`/[a-z]{10}(/|\.|$)`)

// routes describes how many responses of the routes are under the routes' own names.
func (t *table) routes() string {
	return fmt.Sprintf("%d of %d routes have all %d responses under their own names, the others %d: all from the second on; the %d other rows "+
		"contain no random word", t.all, routesMany, routeTimes, t.least, t.others)
}

// strays is the number of responses below which a row may be missing or different after a rebuild, because a name that was rarely seen
// under its own label cannot be distinguished from values on the same level.
const strays = 8

// alike compares the rows after a rebuild with the rows before it. They must be the same, except for strays.
func alike(a, b table) error {
	before, after := map[string]uint64{}, map[string]uint64{}
	for _, row := range a.Paths {
		before[row.Method+" "+row.Path] += row.Count
	}
	for _, row := range b.Paths {
		after[row.Method+" "+row.Path] += row.Count
	}
	var errs []error
	for name, n := range before {
		if m := after[name]; max(n, m)-min(n, m) >= strays {
			errs = append(errs, fmt.Errorf("%s has %d responses, before the rebuild it had %d", name, m, n))
		}
	}
	for name, n := range after {
		if before[name] == 0 {
			errs = append(errs, fmt.Errorf("%s with %d responses is new", name, n))
		}
	}
	return errors.Join(errs...)
}

func same(a, b table) error {
	if a.Rows != b.Rows || len(a.Paths) != len(b.Paths) {
		return fmt.Errorf("there are %d rows, before there were %d", b.Rows, a.Rows)
	}
	for i := range a.Paths {
		if a.Paths[i] != b.Paths[i] {
			return fmt.Errorf("row %d is %+v, before it was %+v", i, b.Paths[i], a.Paths[i])
		}
	}
	return nil
}
