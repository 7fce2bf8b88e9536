package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	// Events stay in the store for weekRetention, and objects stay in the archive for weekExpire. The archive is inside the data
	// directory and counts towards the limit.
	weekRetention = 72 * time.Hour
	weekExpire    = 96 * time.Hour
	// A week in which the limit was reached is followed by calmDays days with the load divided by calmShare. The backlog must disappear
	// without intervention.
	calmDays  = 4
	calmShare = 8
)

// day is a row of the table.
type day struct {
	number                    int
	offered, applied, dropped uint64 // number of events on that day
	spooled                   uint64 // number of events waiting at the end of the day
	before, after, most       int64  // bytes of the data directory: before and after retention, and the maximum of the day
}

func (d day) String() string {
	const mib = 1 << 20
	return fmt.Sprintf("| %d | %d | %d | %d | %d | %.1f | %.1f | %.1f | %.1f |", d.number, d.offered, d.applied, d.dropped, d.spooled,
		float64(d.most)/mib, float64(d.before)/mib, float64(d.after)/mib, float64(d.before-d.after)/mib)
}

const dayHead = `| day | responses | applied | dropped, counted | waiting | MiB at most | before retention | after | given back |
|---|---|---|---|---|---|---|---|---|`

// proveWeek sends a constant load through spool, collector, store and archive for seven simulated days, twice: once
// with space for everything, and once with a data.bytes_max that is reached, followed by calm days. The allocated
// blocks of the data directory are measured every few milliseconds and must never exceed data.bytes_max. Responses that
// are not applied must be counted exactly. After the load, the backlog must disappear without intervention.
func proveWeek(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	perHour := flags.Int("per-hour", 10_000, "responses an hour")
	wide := flags.Int64("wide", 192<<20, "data.bytes_max that is not reached")
	tight := flags.Int64("tight", 96<<20, "data.bytes_max that is reached")
	_ = flags.Parse(args)
	var found []string
	for _, limit := range []int64{*wide, *tight} {
		text, err := simulate(ctx, limit, *perHour, limit == *tight)
		found = append(found, text)
		if err != nil {
			return strings.Join(found, "; "), err
		}
	}
	return strings.Join(found, "; "), nil
}

func simulate(ctx context.Context, limit int64, perHour int, binds bool) (string, error) {
	dir, err := os.MkdirTemp("", "wayside-week-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w, err := newWeek(ctx, dir, limit)
	if err != nil {
		return "", err
	}
	defer w.close()
	fmt.Printf("\ndata.bytes_max %d MiB, %d responses an hour, retention.events 72h, archive (a directory below it) expires after 96h:\n\n%s\n",
		limit>>20, perHour, dayHead)
	var days []day
	total := 7
	if binds {
		total += calmDays
	}
	for n := range total {
		load := perHour
		if n >= 7 {
			load /= calmShare
		}
		d, err := w.day(ctx, n+1, load)
		if err != nil {
			return "", fmt.Errorf("day %d: %w", n+1, err)
		}
		fmt.Println(d)
		days = append(days, d)
	}
	text := fmt.Sprintf("%d responses an hour for 7 days, retention 72 h, archive 96 h: %s", perHour, w.summary(days))
	return text, errors.Join(w.finish(ctx), judge(days, limit, binds))
}

// judge returns the first problem in a week.
func judge(days []day, limit int64, binds bool) error {
	dropped := uint64(0)
	for _, d := range days {
		dropped += d.dropped
		switch {
		case d.most > limit:
			return fmt.Errorf("day %d: %d bytes, the limit is %d", d.number, d.most, limit)
		case d.applied == 0 && (d.number < 3 || d.number > 4 && d.number <= 7): // a full disk stays full until retention frees space
			return fmt.Errorf("day %d: nothing was applied", d.number)
		}
	}
	last := days[len(days)-1]
	switch {
	case !binds && dropped > 0:
		return fmt.Errorf("%d responses were dropped although there was space", dropped)
	case !binds && last.after > days[4].after+days[4].after/4:
		return fmt.Errorf("the directory still grows under a constant load: %d bytes after day 5, %d after day 7", days[4].after, last.after)
	case binds && dropped == 0:
		return errors.New("the limit was not reached")
	case binds && last.dropped+last.spooled > 0:
		return fmt.Errorf("after %d calm days there are still %d dropped and %d waiting responses", calmDays, last.dropped, last.spooled)
	}
	return nil
}

// summary returns the table on one line.
func (w *week) summary(days []day) string {
	const mib = 1 << 20
	var parts []string
	var most int64
	var dropped uint64
	for _, d := range days {
		most, dropped = max(most, d.most), dropped+d.dropped
		parts = append(parts, fmt.Sprintf("%d: %.1f → %.1f", d.number, float64(d.before)/mib, float64(d.after)/mib))
	}
	return fmt.Sprintf("at most %.1f MiB of %d (measured %d times), %d of %d responses dropped and counted; MiB before → after each retention: %s",
		float64(most)/mib, w.limit>>20, w.disk.walks.Load(), dropped, w.offered, strings.Join(parts, ", "))
}
