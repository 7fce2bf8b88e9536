package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/spool"
	"github.com/wayside-proxy/wayside/uploader"
)

// weekStep is the number of events between two drains.
const weekStep = 1000

// week runs all parts of the books in one process, with a simulated clock.
type week struct {
	data      string
	limit     int64
	now       time.Time
	offered   uint64
	spool     *spool.Set
	store     *store.Store
	collector *collector.Collector
	uploader  *uploader.Uploader
	disk      *diskWatch
	last      accounts
}

// accounts are cumulative figures.
type accounts struct{ applied, dropped, spooled uint64 }

func newWeek(ctx context.Context, dir string, limit int64) (*week, error) {
	w := &week{data: filepath.Join(dir, "data"), limit: limit, now: monday}
	clock, quiet := func() time.Time { return w.now }, slog.New(slog.DiscardHandler)
	// The queue gets a quarter of the limit, just as it does with Config.QueueBytesMax.
	o := spool.Options{
		Dir: filepath.Join(w.data, "spool"), QuarantineDir: filepath.Join(w.data, "quarantine"), Segments: 4, QueueBytesMax: limit / 4, Logger: quiet,
	}
	var err error
	if w.spool, err = spool.Open(o); err != nil {
		return nil, err
	}
	w.store, err = store.Open(store.Options{
		Dir: filepath.Join(w.data, "store"), QuarantineDir: filepath.Join(w.data, "quarantine"), Now: clock, Logger: quiet,
	})
	if err != nil {
		return nil, err
	}
	labeler, err := paths.New(paths.Options{})
	if err != nil {
		return nil, err
	}
	archive := filepath.Join(w.data, "archive")
	w.collector, err = collector.New(collector.Options{
		Source: w.spool, Store: w.store, Labeler: labeler, PeekEvents: 1, PeekWait: time.Millisecond, DataDir: w.data, ArchiveDir: archive,
		BytesMax: limit, SpoolBytesMax: limit/4 + 4<<20, Now: clock, Logger: quiet,
	})
	if err != nil {
		return nil, err
	}
	target, err := uploader.OpenTarget(ctx, archive, uploader.TargetOptions{})
	if err != nil {
		return nil, err
	}
	w.uploader, err = uploader.New(uploader.Options{
		Source: w.store, Catalogue: w.store, Target: target, RetentionEvents: weekRetention, Expire: weekExpire, Now: clock, Logger: quiet,
		Elapsed: func() time.Duration { return w.now.Sub(monday) },
	})
	w.disk = watchDisk(w.data)
	return w, err
}

func (w *week) close() {
	w.disk.end()
	_, _ = w.spool.Close(), w.store.Close()
}

// day simulates a day: 24 hours of load, each followed by archiving, and then retention at night.
func (w *week) day(ctx context.Context, number, perHour int) (day, error) {
	offered := w.offered
	w.disk.most.Store(0)
	for range 24 {
		if err := w.hour(ctx, perHour); err != nil {
			return day{}, err
		}
	}
	d := day{number: number, offered: w.offered - offered, before: w.disk.measure()}
	if _, err := w.uploader.CleanOnce(ctx); err != nil {
		return d, err
	}
	if err := w.store.Flatten(); err != nil {
		return d, err
	}
	d.after, d.most = w.disk.measure(), w.disk.most.Load()
	a, err := w.accounts(ctx)
	d.applied, d.dropped, d.spooled = a.applied-w.last.applied, a.dropped-w.last.dropped, a.spooled
	w.last = a
	return d, err
}

func (w *week) hour(ctx context.Context, perHour int) error {
	m := maker{seed: 7, perEvent: time.Hour / time.Duration(perHour)}
	for done := 0; done < perHour; done += weekStep {
		n := min(weekStep, perHour-done)
		b := m.batch(w.offered+1, n, w.now)
		for i := range b.Items {
			w.spool.Record(&b.Items[i].Event)
		}
		w.offered += uint64(n)
		w.now = w.now.Add(time.Hour * time.Duration(n) / time.Duration(perHour))
		if err := w.spool.Flush(ctx); err != nil && !errors.Is(err, spool.ErrQueueFull) {
			return err
		}
		if err := w.drain(ctx); err != nil {
			return err
		}
	}
	if err := w.store.Checkpoint(); err != nil {
		return err
	}
	_, err := w.uploader.ArchiveOnce(ctx, false)
	return err
}

// drain applies as many of the waiting events as the limit allows.
func (w *week) drain(ctx context.Context) error {
	for {
		d, err := w.collector.DrainOnce(ctx)
		switch {
		case errors.Is(err, collector.ErrPaused):
			return nil
		case err != nil || d.Idle():
			return err
		}
	}
}

// accounts reads the figures of spool and store, which must add up to the number of offered events.
func (w *week) accounts(ctx context.Context) (a accounts, err error) {
	totals, aggregated, err := w.store.Account(ctx)
	if err != nil {
		return a, err
	}
	ledgers, err := w.spool.Ledgers(ctx, w.store.Watermarks())
	if err != nil {
		return a, err
	}
	a.applied = totals.Applied
	for _, l := range ledgers {
		a.spooled += l.Spooled
		for _, n := range l.Dropped {
			a.dropped += n
		}
	}
	if a.applied+a.spooled+a.dropped != w.offered || aggregated != a.applied {
		return a, fmt.Errorf("%d applied (%d in the rows), %d waiting and %d dropped do not add up to the %d offered", a.applied, aggregated, a.spooled, a.dropped, w.offered)
	}
	return a, nil
}

// finish archives the remaining events. Then it checks that every applied response is in the archive, and that events have been deleted.
func (w *week) finish(ctx context.Context) error {
	if _, err := w.uploader.ArchiveOnce(ctx, true); err != nil {
		return err
	}
	totals, err := w.store.Totals()
	if err == nil && (totals.Archived != totals.Applied || totals.Deleted == 0) {
		err = fmt.Errorf("totals at the end: %+v", totals)
	}
	return err
}

// diskWatch measures the allocated bytes of a directory repeatedly and keeps the largest sum.
type diskWatch struct {
	dir   string
	most  atomic.Int64
	walks atomic.Int64
	stop  chan struct{}
	done  sync.WaitGroup
}

func watchDisk(dir string) *diskWatch {
	d := &diskWatch{dir: dir, stop: make(chan struct{})}
	d.done.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-d.stop:
				return
			case <-tick.C:
				d.measure()
			}
		}
	})
	return d
}

func (d *diskWatch) end() {
	close(d.stop)
	d.done.Wait()
}

// measure adds up the allocated bytes now.
func (d *diskWatch) measure() int64 {
	var total int64
	_ = filepath.WalkDir(d.dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // the file was removed in the meantime
		}
		if info, err := e.Info(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				total += stat.Blocks * 512
			}
		}
		return nil
	})
	d.walks.Add(1)
	for {
		most := d.most.Load()
		if total <= most || d.most.CompareAndSwap(most, total) {
			return total
		}
	}
}
