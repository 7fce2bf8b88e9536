package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/fleet"
)

// ask runs a named query over the last two days.
func (p *proof) ask(e *engine, name string, o fleet.Options) ([]row, error) {
	o.Engine, o.Limit = e.name, 100_000
	if o.From.IsZero() {
		o.From, o.To = time.Now().Add(-48*time.Hour), time.Now().Add(time.Hour)
	}
	sql, err := fleet.Statement(o, name)
	if err != nil {
		return nil, err
	}
	rows, err := e.query(sql)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", name, err)
	}
	return rows, nil
}

// compareGaps compares the reported completeness with the objects that were moved away.
func (p *proof) compareGaps(e *engine, gaps []gap) error {
	rows, err := p.ask(e, "completeness", fleet.Options{})
	if err != nil {
		return err
	}
	want := map[string]gap{}
	for _, g := range gaps {
		want[g.epoch] = g
	}
	for _, r := range rows {
		g := want[r.text("epoch")]
		delete(want, r.text("epoch"))
		if left := r.number("left"); left != g.numbers || r.number("missing") != g.numbers+r.number("explained") {
			return fmt.Errorf("%s: completeness of %v: left %d, want %d", e.name, r, left, g.numbers)
		}
		if g.numbers > 0 && (r.text("instance") != g.instance || !strings.Contains(r.text("gaps"), g.text)) {
			return fmt.Errorf("%s: completeness reports %v, want numbers %s of %s", e.name, r, g.text, g.instance)
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("%s: completeness lacks epochs: %v", e.name, want)
	}
	return nil
}

// compareAll compares every figure with the instances' own figures, and runs the other queries.
func (p *proof) compareAll(e *engine, worst *float64) error {
	for _, c := range []struct {
		query string
		key   []string
		want  map[string]uint64
	}{
		{"status", []string{"service", "host", "method", "path", "status"}, p.status},
		{"instances", []string{"service", "instance"}, p.perInstance},
		{"drops", []string{"service", "instance", "reason"}, p.drops},
	} {
		rows, err := p.ask(e, c.query, fleet.Options{})
		if err != nil {
			return err
		}
		if err := equal(rows, c.key, "responses", c.want); err != nil {
			return fmt.Errorf("%s: query %s: %w", e.name, c.query, err)
		}
	}
	if err := p.compareGaps(e, nil); err != nil {
		return err
	}
	if err := p.comparePercentiles(e, worst); err != nil {
		return err
	}
	return p.others(e)
}

// equal compares a column with the expected figures. A figure of 0 does not need a row.
func equal(rows []row, key []string, column string, want map[string]uint64) error {
	rest := maps.Clone(want)
	for _, r := range rows {
		var parts []string
		for _, k := range key {
			parts = append(parts, r.text(k))
		}
		name := strings.Join(parts, " ")
		if got := r.number(column); got != rest[name] || got == 0 {
			return fmt.Errorf("%s: the engine has %d, but the instances %d", name, got, want[name])
		}
		delete(rest, name)
	}
	for name, n := range rest {
		if n > 0 {
			return fmt.Errorf("%s: the engine has nothing, but the instances %d", name, n)
		}
	}
	return nil
}

// percentMax is the error of the sketch plus half a microsecond of rounding.
const percentMax = 0.011

// comparePercentiles compares percentiles by path, over all instances of a service, with the exact percentiles of all
// events.
func (p *proof) comparePercentiles(e *engine, worst *float64) error {
	rows, err := p.ask(e, "percentiles", fleet.Options{})
	if err != nil {
		return err
	}
	if len(rows) != len(p.latencies) {
		return fmt.Errorf("%s: percentiles of %d paths, want %d", e.name, len(rows), len(p.latencies))
	}
	for _, r := range rows {
		key := fmt.Sprint(r.text("service"), " ", r.text("host"), " ", r.text("method"), " ", r.text("path"))
		all := p.latencies[key]
		if len(all) == 0 || r.number("responses") != uint64(len(all)) || r.number("max_us") != all[len(all)-1] {
			return fmt.Errorf("%s: %v, but %d events are of %s", e.name, r, len(all), key)
		}
		for column, q := range map[string]float64{"p50_us": 0.5, "p90_us": 0.9, "p95_us": 0.95, "p99_us": 0.99} {
			exact, got := float64(all[int(q*float64(len(all)-1))]), float64(r.number(column))
			off := math.Max(math.Abs(got-exact)-0.5, 0) / math.Max(exact, 1)
			*worst = max(*worst, off)
			if off > percentMax {
				return fmt.Errorf("%s: %s of %s is %.0f, but the exact value is %.0f", e.name, column, key, got, exact)
			}
		}
	}
	return nil
}

// others runs the queries that have not been compared yet, with filters, and checks the known properties of their results.
func (p *proof) others(e *engine) error {
	queries, err := fleet.Queries(e.name)
	if err != nil {
		return err
	}
	done := []string{"status", "instances", "drops", "completeness", "percentiles"}
	for _, q := range queries {
		if slices.Contains(done, q.Name) {
			continue
		}
		o := fleet.Options{}
		if q.Name == "path" {
			o.Path, o.Service = "/users/{id}", "svc-0"
		}
		rows, err := p.ask(e, q.Name, o)
		if err != nil {
			return err
		}
		sum := uint64(0)
		for _, r := range rows {
			sum += r.number("responses")
		}
		switch {
		case q.Name == "ingest" && len(rows) > 0:
			return fmt.Errorf("%s: the ingestion lacks %v", e.name, rows[0])
		case q.Name == "silent" && len(rows) > 0:
			return fmt.Errorf("%s: silent is %v", e.name, rows[0])
		case (q.Name == "top-paths" || q.Name == "minutes" || q.Name == "compare") && sum != p.responses:
			return fmt.Errorf("%s: %s adds up to %d, want %d", e.name, q.Name, sum, p.responses)
		case q.Name != "ingest" && q.Name != "silent" && len(rows) == 0:
			return fmt.Errorf("%s: %s has no rows", e.name, q.Name)
		}
	}
	return nil
}
