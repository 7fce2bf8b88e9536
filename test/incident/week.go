package main

import (
	"context"
	"fmt"
	"math"
	"time"
)

// The times of the week. incidentFrom and incidentTo are the times from the beginning and the end of the incident to the end of the week.
const (
	weekLong     = 7 * 24 * time.Hour
	weekStep     = 2 * time.Minute
	incidentFrom = 30*time.Hour + 13*time.Minute
	incidentTo   = 29*time.Hour + 26*time.Minute
	livePart     = 40 * time.Second // in real time, at the end
)

// asWeek sets the options of the week, except for those that were given.
func (o *options) asWeek() {
	o.history = weekLong
	if o.rate == 40 {
		o.rate = 1
	}
}

// playWeek sends the traffic of a week, and takes the pictures.
func (r *replay) playWeek(ctx context.Context) error {
	r.shop.pace, r.shop.patience, r.client.checkouts = 4, 400*time.Millisecond, 6
	start := time.Now()
	ago := func(d time.Duration) time.Time { return start.Add(-d).Truncate(time.Minute) }
	broken := false
	for begin, sent := start.Add(-r.history), 0.0; begin.Before(time.Now()); {
		step := weekStep
		if time.Since(begin) < shortFor {
			step = shortStep
		}
		if err := r.setClock(time.Until(begin)); err != nil {
			return err
		}
		if inside := !begin.Before(ago(incidentFrom)) && begin.Before(ago(incidentTo)); inside != broken {
			broken = inside
			if err := r.turn(ctx, broken); err != nil {
				return err
			}
		}
		sent += float64(r.rate) * rhythm(begin) * step.Seconds()
		if err := r.client.send(ctx, int(sent)); err != nil {
			return err
		}
		sent -= math.Floor(sent)
		begin = begin.Add(step)
	}
	if err := r.setClock(0); err != nil {
		return err
	}
	fmt.Printf("a week in %s; the incident began %s and ended %s\n", time.Since(start).Round(time.Second), ago(incidentFrom).Format(time.DateTime), ago(incidentTo).Format(time.DateTime))
	live, stop := context.WithCancel(ctx)
	defer stop()
	go r.client.steadily(live, max(1, int(float64(r.rate)*rhythm(time.Now()))))
	time.Sleep(livePart)
	if err := r.expectNothing(ctx); err != nil {
		return err
	}
	if r.shots != "" {
		screen, err := r.topScreen(ctx, "7d")
		if err != nil {
			return err
		}
		report, err := r.report(ctx)
		if err != nil {
			return err
		}
		from, to := ago(incidentFrom+90*time.Minute).UTC().Format(time.RFC3339), ago(incidentTo-90*time.Minute).UTC().Format(time.RFC3339)
		if err := r.pictures(ctx, "week.mjs", screen, report, from, to); err != nil {
			return err
		}
	}
	r.stay()
	return nil
}

// turn begins or ends the incident.
func (r *replay) turn(ctx context.Context, broken bool) error {
	share, text := float64(usualErrors)/millionths, "rollback to 2.4.0"
	if broken {
		share, text = r.share, "deploy 2.4.1"
	}
	if out, err := r.wayside(ctx, "mark", text); err != nil {
		return fmt.Errorf("wayside mark: %w: %s", err, out)
	}
	r.shop.fail(share)
	return nil
}

// rhythm returns the factor by which the traffic differs from its average: more by day, less by night and at weekends.
func rhythm(t time.Time) float64 {
	hour := float64(t.Hour()) + float64(t.Minute())/60
	factor := 1 + 0.65*math.Sin((hour-9)/24*2*math.Pi)
	if day := t.Weekday(); day == time.Saturday || day == time.Sunday {
		factor *= 0.75
	}
	return factor
}
