package books

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/verify"
	"github.com/wayside-proxy/wayside/spool"
	"github.com/wayside-proxy/wayside/uploader"
)

// Verify checks the files in a data directory that no wayside is using. It checks a copy of the store with hard-linked tables, because
// opening a store replays and truncates logs that exist after a process was killed.
func Verify(ctx context.Context, cfg *configs.Config, log *slog.Logger, local bool) (*verify.Report, error) {
	dir := cfg.Data.Dir
	if err := datadir.Known(dir); err != nil {
		return nil, err
	}
	for _, name := range []string{datadir.RunLock, datadir.CollectLock} {
		lock, err := datadir.Acquire(dir, name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = lock.Release() }()
	}
	report := &verify.Report{Mode: "offline"}
	through := verifyStore(ctx, cfg, log, report, local)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	spools, err := spool.VerifyDir(ctx, filepath.Join(dir, datadir.SpoolDir), through)
	report.Add(spools...)
	report.Add(verify.Quarantine(filepath.Join(dir, datadir.Quarantine)))
	return report, err
}

// verifyStore checks the store. It returns the store's watermarks: an empty map if there is no store, nil if they are unknown.
func verifyStore(ctx context.Context, cfg *configs.Config, log *slog.Logger, report *verify.Report, local bool) map[uuid.UUID]uint64 {
	c := &verify.Check{Name: "store", Of: "stores"}
	defer func() { report.Add(c) }()
	from := filepath.Join(cfg.Data.Dir, datadir.StoreDir)
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return noStore(from, c)
	}
	c.Checked = 1
	at, err := datadir.VerifyCopy(cfg.Data.Dir)
	if err != nil {
		c.CannotMake("was not checked, because its logs could not be copied: %v", err)
		return nil
	}
	defer func() { _ = os.RemoveAll(at) }()
	copied := filepath.Join(at, datadir.StoreDir)
	if err := store.Clone(copied, from); err != nil {
		c.CannotMake("was not checked, because its logs could not be copied: %v", err)
		return nil
	}
	s, err := store.Open(store.Options{
		Dir: copied, QuarantineDir: filepath.Join(at, "aside"), ReserveBytes: -1, RefuseDamaged: true, Logger: slog.New(slog.DiscardHandler),
	})
	if errors.Is(err, store.ErrDamaged) {
		c.Problem("is damaged; the next start will set it aside, begin empty, and fill it again from the archive: %v", err)
		return nil
	}
	if err != nil {
		c.CannotMake("cannot be opened: %v", err)
		return nil
	}
	b := &books{cfg: cfg, log: log, store: s}
	checks, damage, err := b.verify(ctx, local)
	report.Add(checks...)
	if damage != "" && datadir.CheckUser(cfg.Data.Dir) == nil {
		if err := store.Condemn(from, damage); err != nil {
			c.CannotMake("is damaged, and cannot be marked for the next start to set it aside: %v", err)
		} else {
			c.Problem("is damaged; the next start will set it aside, begin empty, and fill it again from the archive")
		}
	}
	through := s.Watermarks()
	if err = errors.Join(err, s.Close()); err != nil {
		c.Problem("was not checked to its end: %v", err)
	}
	return through
}

// noStore reports that there is no store, and returns the watermarks against which to check the spools.
func noStore(from string, c *verify.Check) map[uuid.UUID]uint64 {
	if store.Begun(from) {
		c.Problem("%s is gone: the next start counts the events that it acknowledged as quarantined", from)
	} else {
		c.Skipped = "there is no store"
	}
	return map[uuid.UUID]uint64{}
}

// verify checks the store and, unless local is set, the archive. If the store cannot be used, damage says why. A problem in the archive
// must never make the store count as damaged: a new store would have to be refilled from that same archive.
func (b *books) verify(ctx context.Context, local bool) (checks []*verify.Check, damage string, err error) {
	checks, err = b.store.Verify(ctx)
	if err != nil {
		return nil, "", err
	}
	damage = store.Damage(checks)
	if local {
		return checks, damage, nil
	}
	var plans []*catalogue.Plan
	err = plansOf(ctx, b.store, func(p *catalogue.Plan) error { plans = append(plans, p); return nil })
	if err != nil {
		return checks, damage, err
	}
	target, err := OpenTarget(ctx, b.cfg, b.log)
	if err != nil {
		c := &verify.Check{Name: "archive", Of: "archives"}
		c.CannotMake("cannot be opened, and was not checked: %v", err)
		return append(checks, c), damage, nil
	}
	archive, err := uploader.CheckCatalogue(ctx, plans, uploader.NewTargets(target, TargetOptions(b.cfg, b.log)))
	return append(checks, archive), damage, err
}

// serveVerify handles a verification request from the traffic process. If the store is damaged, the books process stops: the next one,
// which is started immediately, sets the store aside.
func (b *books) serveVerify(w http.ResponseWriter, r *http.Request) {
	b.verifying.Lock() // a verification whose client has disconnected may still be running
	defer b.verifying.Unlock()
	checks, damage, err := b.verify(r.Context(), r.URL.Query().Get("local") == "true")
	reply(w, checks, err)
	if damage == "" || b.damaged == nil {
		return
	}
	if err := store.Condemn(filepath.Join(b.cfg.Data.Dir, datadir.StoreDir), damage); err != nil {
		b.log.Error("the store is damaged, but wayside cannot mark it to be set aside; continuing with the damaged store", "found", damage, "error", err)
		return
	}
	_ = http.NewResponseController(w).Flush() // before the connection is closed
	b.damagedOnce.Do(func() { close(b.damaged) })
}
