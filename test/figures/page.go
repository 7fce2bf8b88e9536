package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// rounding is the largest relative error of a figure that is shown with three digits.
const rounding = 0.006

// shownPage holds the figures that the home page of the dashboard shows for a range.
type shownPage struct {
	At    int64 // when the page was read, in milliseconds since 1970
	Tiles map[string]string
	Rows  []struct{ Path, Requests, Rate, Errors string }
}

// page opens the home page with each range in a browser, and compares the figures that it shows with the recount.
func (p *proof) page(ctx context.Context) error {
	var in, out bytes.Buffer
	for _, r := range p.ranges {
		q := url.Values{"range": {"custom"}, "from": {r.from.UTC().Format(time.RFC3339)}, "to": {r.to.UTC().Format(time.RFC3339)}}
		fmt.Fprintf(&in, "/?%s\n", q.Encode())
	}
	cmd := exec.CommandContext(ctx, "node", "figures.mjs", p.w.Info().Admin)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = filepath.Join("collector", "api", "dashboard"), &in, &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the dashboard could not be read (-page=false skips it): %w", err)
	}
	lines := json.NewDecoder(&out)
	for _, r := range p.ranges {
		var shown shownPage
		if err := lines.Decode(&shown); err != nil {
			return err
		}
		if err := p.checkPage(&shown, r); err != nil {
			return fmt.Errorf("the page of %s to %s: %w", r.from.UTC(), r.to.UTC(), err)
		}
	}
	return nil
}

func (p *proof) checkPage(shown *shownPage, r life) error {
	count, failed := p.count("", r.from, r.to)
	if err := p.checkShown("Requests", shown.Tiles["Requests"], float64(count), float64(count)); err != nil {
		return err
	}
	at := time.UnixMilli(shown.At)
	low, high := p.rates(count, r, at)
	if err := p.checkShown("Rate", shown.Tiles["Rate"], low, high); err != nil {
		return err
	}
	if count > 0 {
		percent := 100 * float64(failed) / float64(count)
		if err := p.checkShown("Errors", shown.Tiles["Errors"], percent*(1-rounding), percent*(1+rounding)); err != nil {
			return err
		}
	}
	dropped := float64(p.droppedIn(r.from, r.to))
	if err := p.checkShown("Not recorded", shown.Tiles["Not recorded"], dropped, dropped); err != nil {
		return err
	}
	left := count
	for _, row := range shown.Rows {
		count, failed := p.count(row.Path, r.from, r.to)
		low, high := p.rates(count, r, at)
		for _, c := range []struct {
			name, text string
			low, high  float64
		}{
			{"requests", row.Requests, float64(count), float64(count)},
			{"errors", row.Errors, float64(failed), float64(failed)},
			{"rate", row.Rate, low, high},
		} {
			if err := p.checkShown(row.Path+": "+c.name, c.text, c.low, c.high); err != nil {
				return err
			}
		}
		left -= count
	}
	if left != 0 {
		return fmt.Errorf("%d responses are in no row of the table", left)
	}
	return nil
}

// rates returns the smallest and the largest rate, per second, that the page may show at the time at.
func (p *proof) rates(count uint64, r life, at time.Time) (low, high float64) {
	covered, ends := p.covered(r.from, r.to, at)
	allowed := (time.Duration(ends)*tolerance + 50*time.Millisecond).Seconds()
	low = float64(count) / (covered.Seconds() + allowed) * (1 - rounding)
	if covered.Seconds() <= allowed {
		return low, float64(count) * 1e6
	}
	return low, float64(count) / (covered.Seconds() - allowed) * (1 + rounding)
}

// checkShown checks that a figure on the page is between two numbers. Rates are compared per second; a figure that is not shown is zero.
func (p *proof) checkShown(name, text string, low, high float64) error {
	p.checked++
	shown, err := parseShown(text)
	if err != nil {
		return fmt.Errorf("%s is shown as %q: %w", name, text, err)
	}
	if shown < low-1e-9 || shown > high+1e-9 {
		return fmt.Errorf("%s is shown as %q, but must be %g to %g", name, text, low, high)
	}
	return nil
}

// parseShown reads a figure such as "1,234", "12.3 %", "45 /min" or "1,234 responses".
func parseShown(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	number, unit, _ := strings.Cut(strings.TrimPrefix(text, "< "), " ")
	value, err := strconv.ParseFloat(strings.ReplaceAll(number, ",", ""), 64)
	switch unit {
	case "/min":
		value /= 60
	case "/h":
		value /= 3600
	case "", "%", "/s", "response", "responses":
	default:
		return 0, fmt.Errorf("unknown unit %q", unit)
	}
	return value, err
}
