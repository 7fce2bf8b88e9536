package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tolerance is the maximum error in the beginning or the end of a run, because these are observed from outside.
const tolerance = time.Second

// figures are the fields of the API's rows and points that are compared.
type figures struct {
	Count, Errors uint64
	Rate, Seconds float64
	Dropped       map[string]uint64
}

type answer struct {
	From, To   time.Time
	Resolution string
	Totals     figures
	Paths      []struct {
		Path string
		figures
	}
	Points []struct {
		Time time.Time
		figures
	}
}

// compareAll compares random ranges, then the windows of `wayside top`, and then the same ranges on the page.
func (p *proof) compareAll(ctx context.Context, ranges int) error {
	first, last := p.lives[0].from.Add(-2*time.Minute), time.Now()
	for range ranges {
		from := first.Add(time.Duration(p.random.Int64N(int64(last.Sub(first)))))
		to := from.Add(time.Duration(p.random.Int64N(int64(last.Sub(first))))).Add(time.Second)
		q := url.Values{"from": {from.UTC().Format(time.RFC3339Nano)}, "to": {to.UTC().Format(time.RFC3339Nano)}}
		if p.random.IntN(4) == 0 {
			q = url.Values{"from": {"-1h"}}
		}
		p.ranges = append(p.ranges, life{from.Truncate(time.Minute), to.Add(time.Minute - 1).Truncate(time.Minute)})
		if err := p.table(ctx, q); err != nil {
			return err
		}
		q.Set("step", []string{"1m", "2m", "5m", "1h", "6h"}[p.random.IntN(5)])
		if err := p.series(ctx, q); err != nil {
			return err
		}
	}
	for window, length := range map[string]time.Duration{"1h": time.Hour, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "30d": 30 * 24 * time.Hour} {
		if err := p.top(ctx, window, length); err != nil {
			return err
		}
	}
	if !p.withPage {
		return nil
	}
	return p.page(ctx)
}

// count counts the responses and errors of a path in [from, to), or of all paths if it is "".
func (p *proof) count(path string, from, to time.Time) (count, failed uint64) {
	for i := range p.events {
		e := &p.events[i]
		if e.Time.Before(from) || !e.Time.Before(to) || path != "" && e.Path != path {
			continue
		}
		count++
		if e.Status >= http.StatusInternalServerError || e.Error != "" {
			failed++
		}
	}
	return count, failed
}

// droppedIn returns the number of responses that the archive's drop records report for the hours that overlap [from, to). The number in a
// record counts from the beginning of its epoch.
func (p *proof) droppedIn(from, to time.Time) (dropped uint64) {
	before := map[string]uint64{}
	for i := range p.drops { // in the order of their numbers
		d := &p.drops[i]
		of := d.Epoch + " " + d.Error
		if !d.Time.Before(from.Truncate(time.Hour)) && d.Time.Before(to.Add(time.Hour-1).Truncate(time.Hour)) {
			dropped += d.Dropped - before[of]
		}
		before[of] = d.Dropped
	}
	return dropped
}

// check compares figures for the time [from, to) with the recount of a path, or of all paths if it is "".
func (p *proof) check(where, path string, f figures, from, to time.Time) error {
	p.checked++
	count, failed := p.count(path, from, to)
	covered, ends := p.covered(from, to, time.Now())
	allowed := time.Duration(ends)*tolerance + 50*time.Millisecond
	seconds := time.Duration(f.Seconds * float64(time.Second))
	rate := 0.0
	if f.Seconds > 0 {
		rate = float64(f.Count) / f.Seconds
	}
	if f.Count != count || f.Errors != failed || (seconds-covered).Abs() > allowed || math.Abs(f.Rate-rate) > 1e-9*max(rate, 1) {
		return fmt.Errorf("%s, %q from %s to %s: %d responses, %d errors, %g/s over %g s; the archive has %d and %d, and wayside ran for %s of it (to %s)",
			where, path, from, to, f.Count, f.Errors, f.Rate, f.Seconds, count, failed, covered, allowed)
	}
	return nil
}

// checkTotals checks the totals of a range, including dropped responses.
func (p *proof) checkTotals(where string, a *answer) error {
	dropped := uint64(0)
	for _, n := range a.Totals.Dropped {
		dropped += n
	}
	if want := p.droppedIn(a.From, a.To); dropped != want {
		return fmt.Errorf("%s: %d responses were dropped, but the archive has %d", where, dropped, want)
	}
	return p.check(where, "", a.Totals, a.From, a.To)
}

// covered returns the part of a range, up to now, during which wayside was running, and the number of times that a run began or ended in
// or near the range.
func (p *proof) covered(from, to, now time.Time) (sum time.Duration, ends int) {
	for _, l := range p.lives {
		a, b := l.from, l.to
		if b.IsZero() {
			b = now
			ends++ // the response may be slightly old
		}
		for _, at := range []time.Time{l.from, l.to} {
			if at.After(from.Add(-tolerance)) && at.Before(to.Add(tolerance)) {
				ends++
			}
		}
		if a.Before(from) {
			a = from
		}
		if b.After(to) {
			b = to
		}
		sum += max(b.Sub(a), 0)
	}
	return sum, ends
}

func (p *proof) table(ctx context.Context, q url.Values) error {
	where := "/api/v1/paths?" + q.Encode()
	var a answer
	if err := p.ask(ctx, where, &a); err != nil {
		return err
	}
	if a.Resolution != "1m" {
		return fmt.Errorf("%s: the range was widened to hours", where)
	}
	if err := p.checkTotals(where, &a); err != nil {
		return err
	}
	sum := uint64(0)
	for _, row := range a.Paths {
		if err := p.check(where, row.Path, row.figures, a.From, a.To); err != nil {
			return err
		}
		sum += row.Count
	}
	if sum != a.Totals.Count {
		return fmt.Errorf("%s: the rows add up to %d, but the totals are %d", where, sum, a.Totals.Count)
	}
	return p.table2(ctx, where, a.From, a.To)
}

// table2 checks the same table as CSV.
func (p *proof) table2(ctx context.Context, where string, from, to time.Time) error {
	records, err := p.askCSV(ctx, where)
	if err != nil {
		return err
	}
	column := func(record []string, name string) string { return record[slices.Index(records[0], name)] }
	for _, record := range records[1:] {
		f, err := parse(func(name string) string { return column(record, name) })
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		if err := p.check(where+" as CSV", column(record, "path"), f, from, to); err != nil {
			return err
		}
	}
	return nil
}

func (p *proof) series(ctx context.Context, q url.Values) error {
	where := "/api/v1/series?" + q.Encode()
	var a answer
	if err := p.ask(ctx, where, &a); err != nil {
		return err
	}
	if err := p.checkTotals(where, &a); err != nil {
		return err
	}
	end := func(i int) time.Time {
		if i+1 < len(a.Points) {
			return a.Points[i+1].Time
		}
		return a.To
	}
	for i, point := range a.Points {
		if err := p.check(where, "", point.figures, point.Time, end(i)); err != nil {
			return err
		}
	}
	records, err := p.askCSV(ctx, where)
	if err != nil {
		return err
	}
	if len(records) != len(a.Points)+1 {
		return fmt.Errorf("%s: %d points, %d lines of CSV", where, len(a.Points), len(records))
	}
	for i, record := range records[1:] {
		f, err := parse(func(name string) string { return record[slices.Index(records[0], name)] })
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		if err := p.check(where+" as CSV", "", f, a.Points[i].Time, end(i)); err != nil {
			return err
		}
	}
	return nil
}

func parse(field func(string) string) (f figures, err error) {
	for name, to := range map[string]*uint64{"count": &f.Count, "errors": &f.Errors} {
		if *to, err = strconv.ParseUint(field(name), 10, 64); err != nil {
			return f, err
		}
	}
	for name, to := range map[string]*float64{"rate": &f.Rate, "seconds": &f.Seconds} {
		if *to, err = strconv.ParseFloat(field(name), 64); err != nil {
			return f, err
		}
	}
	return f, nil
}

// top compares the numbers of requests in the table of `wayside top` with the numbers of requests in its window. No window ends during
// the traffic.
func (p *proof) top(ctx context.Context, window string, length time.Duration) error {
	out, err := exec.CommandContext(ctx, p.w.Binary, "top", "--window", window, "--data", p.w.DataDir).Output()
	if err != nil {
		return fmt.Errorf("wayside top: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for len(lines) > 1 && !strings.HasPrefix(lines[0], "METHOD") {
		lines = lines[1:] // paths that are failing now are listed before the table
	}
	at := 0
	for i, name := range strings.Fields(lines[0]) {
		if strings.HasSuffix(name, "REQUESTS") {
			at = i - len(strings.Fields(lines[0])) // index from the end, because earlier columns contain spaces
		}
	}
	if at == 0 || len(lines) < 2 {
		return fmt.Errorf("wayside top has no column REQUESTS: %s", out)
	}
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		shown, err := strconv.ParseUint(strings.ReplaceAll(fields[len(fields)+at], ",", ""), 10, 64)
		if err != nil {
			return fmt.Errorf("wayside top: %q: %w", line, err)
		}
		now := time.Now()
		count, _ := p.count(fields[1], now.Add(-length), now)
		if p.checked++; shown != count {
			return fmt.Errorf("wayside top over %s: %s has %d requests, the archive %d", window, fields[1], shown, count)
		}
	}
	return nil
}

func (p *proof) ask(ctx context.Context, path string, into any) error {
	body, err := p.w.Ask(ctx, http.MethodGet, path)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func (p *proof) askCSV(ctx context.Context, path string) ([][]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.w.Info().Admin+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/csv")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	records, err := csv.NewReader(resp.Body).ReadAll()
	if err == nil && len(records) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return records, err
}
