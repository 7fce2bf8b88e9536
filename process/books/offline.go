package books

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/spool"
)

// OpenCopy opens a copy of the store for reading, because opening the store itself would change it. done closes and removes the copy. The
// error wraps [datadir.ErrInUse] if a books process is using the directory, and [store.ErrDamaged] if the store is damaged.
func OpenCopy(dir string, log *slog.Logger) (s *store.Store, done func() error, err error) {
	at, held, err := copyStore(dir)
	remove := func() error { return errors.Join(os.RemoveAll(at), held.Close()) }
	if held == nil {
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	s, err = store.Open(store.Options{
		Dir: filepath.Join(at, datadir.StoreDir), QuarantineDir: filepath.Join(at, datadir.Quarantine), ReserveBytes: -1, Logger: log,
		RefuseDamaged: true,
	})
	if errors.Is(err, store.ErrDamaged) {
		err = fmt.Errorf("cannot read the store in %s, and nothing was changed: %w; "+
			"start wayside on it, which sets the store aside and fills a new one from the archive, or make it again: wayside archive rebuild", dir, err)
	}
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return s, func() error { return errors.Join(s.Close(), remove()) }, nil
}

// copyStore makes a copy of the store while no process is using the store. The copy is within the data directory, because tables can be
// hard-linked there, and because wayside does not write anywhere else. If held is not nil, at is the path of the copy, which belongs to
// this process until held is closed, even if there is an error.
func copyStore(dir string) (at string, held *os.File, err error) {
	if err := datadir.Exists(dir); err != nil {
		return "", nil, err
	}
	from := filepath.Join(dir, datadir.StoreDir)
	if _, err := os.Stat(from); err != nil {
		return "", nil, fmt.Errorf("there is no store: %w; name a data directory with --data", err)
	}
	lock, err := datadir.Acquire(dir, datadir.CollectLock)
	if err != nil && !errors.Is(err, os.ErrPermission) {
		return "", nil, err
	}
	if err == nil {
		defer func() { _ = lock.Release() }()
	}
	if at, held, err = datadir.ServeCopy(dir); err != nil {
		return "", nil, fmt.Errorf("copy the store, in order to read the copy: %w; make %s writable, or copy it to a place that is", err, dir)
	}
	return at, held, store.Clone(filepath.Join(at, datadir.StoreDir), from)
}

// RunJob opens the books and runs one job. It never creates a data directory: a mistyped --data must not look like an empty directory.
func RunJob(ctx context.Context, cfg *configs.Config, log *slog.Logger, name string, all bool) (JobDone, error) {
	if err := datadir.Exists(cfg.Data.Dir); err != nil {
		return JobDone{}, err
	}
	if err := datadir.CheckUser(cfg.Data.Dir); err != nil {
		return JobDone{}, err
	}
	lock, err := datadir.Acquire(cfg.Data.Dir, datadir.CollectLock)
	if err != nil {
		return JobDone{}, err
	}
	defer func() { _ = lock.Release() }()
	b, err := open(ctx, cfg, nil, log)
	if err != nil {
		return JobDone{}, err
	}
	done, err := b.job(ctx, name, all)
	if err == nil && name == "archive" {
		done.Spooled, err = spool.Waiting(ctx, filepath.Join(cfg.Data.Dir, datadir.SpoolDir), b.store.Watermarks())
	}
	return done, errors.Join(err, b.close())
}

// OpenForget opens the books in a data directory that no wayside is using, and applies the events that are left in its spools. done
// closes the books.
func OpenForget(ctx context.Context, cfg *configs.Config, log *slog.Logger) (do ForgetFunc, done func() error, err error) {
	if err := datadir.Exists(cfg.Data.Dir); err != nil {
		return nil, nil, err
	}
	if err := datadir.CheckUser(cfg.Data.Dir); err != nil {
		return nil, nil, err
	}
	var undo []func() error
	done = func() error {
		var errs []error
		for i := len(undo) - 1; i >= 0; i-- {
			errs = append(errs, undo[i]())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, done())
		}
	}()
	for _, name := range []string{datadir.RunLock, datadir.CollectLock} {
		lock, err := datadir.Acquire(cfg.Data.Dir, name)
		if err != nil {
			return nil, done, err
		}
		undo = append(undo, lock.Release)
	}
	set, err := spool.Open(spool.Options{
		Dir: filepath.Join(cfg.Data.Dir, datadir.SpoolDir), QuarantineDir: filepath.Join(cfg.Data.Dir, datadir.Quarantine),
		SegmentBytes: cfg.Spool.SegmentBytes.Int(), Segments: cfg.Spool.Segments, QueueBytesMax: cfg.Spool.BytesMax.Int64(),
		OnPublish: func(string, []byte) error { return nil }, Logger: log,
	})
	if err != nil {
		return nil, done, err
	}
	undo = append(undo, set.Close)
	b, err := open(ctx, cfg, set, log)
	if err != nil {
		return nil, done, err
	}
	undo = append(undo, b.close)
	return b.forget, done, b.collector.Drain(ctx)
}

// ErrNoCatalogue means that there is an archive but no catalogue.
var ErrNoCatalogue = errors.New("no catalogue: wayside is not running, and there is no store in the data directory")

// Plans reads the archive's catalogue, without blocks, from a copy of the store in a data directory that no wayside is using. The error
// wraps [ErrNoCatalogue] if there is no store; other errors come from [OpenCopy].
func Plans(ctx context.Context, dir string) (plans []catalogue.Plan, err error) {
	if _, err := os.Stat(filepath.Join(dir, datadir.StoreDir)); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w %s", ErrNoCatalogue, dir)
	}
	s, done, err := OpenCopy(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	err = plansOf(ctx, s, func(p *catalogue.Plan) error { plans = append(plans, *p); return nil })
	return plans, err
}

// plansOf calls fn for each plan in the catalogue. It omits the blocks of each plan, which matter only locally and make up most of its
// size.
func plansOf(ctx context.Context, s *store.Store, fn func(*catalogue.Plan) error) error {
	return s.Plans(ctx, func(p *catalogue.Plan) error {
		c := *p
		c.Blocks = nil
		return fn(&c)
	})
}
