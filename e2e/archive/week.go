package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/uploader"
)

// weekLimit is data.bytes_max of the week, which the total must never pass.
const weekLimit = 96 << 20

// proveWeek applies a constant load through seven simulated days with archive and retention by the clock, and measures the
// data directory before and after each night's retention. The archive is a directory elsewhere.
func proveWeek(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	perHour := flags.Int("per-hour", 16_000, "events an hour")
	_ = flags.Parse(args)
	dir, err := os.MkdirTemp("", "wayside-week-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w := &week{dir: dir, now: monday, data: filepath.Join(dir, "data")}
	if err := w.open(ctx); err != nil {
		return "", err
	}
	defer func() { _ = w.store.Close() }()
	fmt.Println("day  events    before retention  after     given back")
	var rows []string
	for day := range 7 {
		for range 24 {
			if err := w.hour(ctx, *perHour); err != nil {
				return "", err
			}
		}
		before := w.bytes()
		if _, err := w.uploader.CleanOnce(ctx); err != nil {
			return "", err
		}
		if err := w.store.Flatten(); err != nil {
			return "", err
		}
		after := w.bytes()
		w.levels = append(w.levels, after)
		fmt.Printf("%3d  %8d  %16d  %8d  %10d\n", day+1, w.seq, before, after, before-after)
		rows = append(rows, fmt.Sprintf("%d: %.1f → %.1f", day+1, float64(before)/(1<<20), float64(after)/(1<<20)))
	}
	totals, err := w.store.Totals()
	if err != nil {
		return "", err
	}
	found := fmt.Sprintf("%d events an hour for 7 days, retention 72 h, MiB of the data directory before → after each night's retention: %s; "+
		"largest ever %.1f MiB of %d allowed; %d applied, %d archived, %d deleted locally",
		*perHour, strings.Join(rows, ", "), float64(w.most)/(1<<20), weekLimit>>20, totals.Applied, totals.Archived, totals.Deleted)
	if w.most > weekLimit || totals.Deleted == 0 || totals.Archived < totals.Applied*9/10 {
		return found, errors.New("beyond the limit, or not archived and deleted")
	}
	// From the fourth night on, as much goes as comes.
	if last, third := w.levels[6], w.levels[3]; last > third+third/4 {
		return found, fmt.Errorf("the directory still grows at a constant load: %v", w.levels)
	}
	return found, nil
}

type week struct {
	dir, data string
	now       time.Time
	seq       uint64
	most      int64
	levels    []int64 // after each night's retention
	store     *store.Store
	uploader  *uploader.Uploader
}

func (w *week) open(ctx context.Context) error {
	clock := func() time.Time { return w.now }
	var err error
	w.store, err = store.Open(store.Options{
		Dir: filepath.Join(w.data, "store"), QuarantineDir: filepath.Join(w.data, "quarantine"), ReserveBytes: -1, Now: clock, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	target, err := uploader.OpenTarget(ctx, filepath.Join(w.dir, "archive"), uploader.TargetOptions{})
	if err != nil {
		return err
	}
	w.uploader, err = uploader.New(uploader.Options{Source: w.store, Catalogue: w.store, Target: target, Now: clock, Logger: slog.New(slog.DiscardHandler)})
	return err
}

// hour applies an hour's events and archives what is due.
func (w *week) hour(ctx context.Context, events int) error {
	const step = 4000
	m := maker{seed: 7, perEvent: time.Hour / time.Duration(events)}
	for done := 0; done < events; done += step {
		if err := w.store.Apply(m.batch(w.seq+1, step, w.now)); err != nil {
			return err
		}
		w.seq += step
		w.now = w.now.Add(time.Hour * step / time.Duration(events))
		w.most = max(w.most, w.bytes())
	}
	if err := w.store.Checkpoint(); err != nil {
		return err
	}
	_, err := w.uploader.ArchiveOnce(ctx, false)
	w.most = max(w.most, w.bytes())
	return err
}

// bytes are those allocated on disk below the data directory.
func (w *week) bytes() int64 {
	var total int64
	_ = filepath.WalkDir(w.data, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // vanished meanwhile
		}
		if info, err := d.Info(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				total += stat.Blocks * 512
			}
		}
		return nil
	})
	return total
}
