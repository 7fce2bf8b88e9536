package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/internal/verify"
	"github.com/wayside-proxy/wayside/spool"
	"github.com/wayside-proxy/wayside/uploader"
)

const (
	pathVerify      = "/api/v1/verify"
	pathVerifyBooks = admin.InternalPrefix + "verify"
)

// errNotAsPromised is what wayside verify ends with when it has found something; the report says what.
var errNotAsPromised = errors.New("not everything is as promised")

// errNotChecked is what it ends with when nothing is wrong with what it could check, which was not everything.
var errNotChecked = errors.New("not everything could be checked")

func newVerify() *cobra.Command {
	var f finder
	var output string
	var local bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Check every promise that can be checked on a data directory",
		Long: "verify reads journals, queues, event blocks, watermarks, hourly sums and the catalogue, compares them with each other,\n" +
			"and reads every archived object back. A running wayside is asked to check itself; otherwise the files are read here. It\n" +
			"repairs nothing and deletes nothing. Exit code 1 if anything is not as promised, or could not be\n" +
			"checked, which the last line tells apart.",
		Example: "wayside verify --data ./wayside-data --output json", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT) // what it has copied must go
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends it at once
			report, err := runVerify(ctx, cmd, &f, local)
			if err != nil {
				return err
			}
			if output == "json" {
				err = json.NewEncoder(terminal.JSON(cmd.OutOrStdout())).Encode(report)
			} else {
				printChecks(cmd, report)
			}
			if err == nil && !report.OK {
				err = errNotChecked
				if report.Found() {
					err = errNotAsPromised
				}
			}
			return err
		},
	}
	f.bind(cmd)
	cmd.Flags().BoolVar(&local, "local", false, "leave the archive out")
	bindOutput(cmd, &output)
	return cmd
}

func runVerify(ctx context.Context, cmd *cobra.Command, f *finder, local bool) (*verify.Report, error) {
	c, err := f.find(cmd)
	if errors.Is(err, datadir.ErrNotRunning) {
		cfg, err := f.config.loadKept(cmd)
		if err != nil {
			return nil, err
		}
		return verifyHere(ctx, cfg, cmd, local)
	}
	if err != nil {
		return nil, err
	}
	body, err := c.do(ctx, http.MethodPost, fmt.Sprintf("%s?local=%t", pathVerify, local))
	if err != nil {
		return nil, err
	}
	var report verify.Report
	return &report, json.Unmarshal(body, &report)
}

func printChecks(cmd *cobra.Command, r *verify.Report) {
	w := cmd.OutOrStdout()
	for _, c := range r.Checks {
		state := "ok"
		switch {
		case c.Found > 0:
			state = fmt.Sprintf("%d PROBLEMS", c.Found)
		case c.NotMade > 0:
			state = fmt.Sprintf("%d NOT CHECKED", c.NotMade)
		case c.Skipped != "" && c.Checked == 0:
			state = "skipped"
		}
		fmt.Fprintf(w, "%-26s %10d %-9s %s\n", c.Name, c.Checked, c.Of, state)
		if c.Skipped != "" {
			fmt.Fprintf(w, "    skipped: %s\n", terminal.Safe(c.Skipped))
		}
		for _, p := range c.Unmade {
			fmt.Fprintf(w, "    not checked: %s\n", terminal.Safe(p))
		}
		if more := c.NotMade - uint64(len(c.Unmade)); more > 0 {
			fmt.Fprintf(w, "    and %d more not checked\n", more)
		}
		for _, p := range c.Problems {
			fmt.Fprintf(w, "    %s\n", terminal.Safe(p))
		}
		if more := c.Found - uint64(len(c.Problems)); more > 0 {
			fmt.Fprintf(w, "    and %d more\n", more)
		}
	}
}

// verifyHere checks the files of a data directory that nobody is using. The store is checked in a copy whose tables are links:
// opening one replays, and cuts off, what a killed process left.
func verifyHere(ctx context.Context, cfg *configs.Config, cmd *cobra.Command, local bool) (*verify.Report, error) {
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
	through := verifyStoreHere(ctx, cfg, logsink.Logger(cmd.ErrOrStderr(), cfg.Log.Level, cfg.Log.Format, "verify"), report, local)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	spools, err := spool.VerifyDir(ctx, filepath.Join(dir, datadir.SpoolDir), through)
	report.Add(spools...)
	report.Add(quarantined(dir))
	return report, err
}

// verifyStoreHere returns the store's watermarks: none if there is no store, nil if they cannot be known.
func verifyStoreHere(ctx context.Context, cfg *configs.Config, log *slog.Logger, report *verify.Report, local bool) map[uuid.UUID]uint64 {
	c := &verify.Check{Name: "store", Of: "stores"}
	defer func() { report.Add(c) }()
	from := filepath.Join(cfg.Data.Dir, datadir.StoreDir)
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return noStore(from, c)
	}
	c.Checked = 1
	at, err := datadir.VerifyCopy(cfg.Data.Dir)
	if err != nil {
		c.CannotMake("was not checked, for want of room for a copy of its logs: %v", err)
		return nil
	}
	defer func() { _ = os.RemoveAll(at) }()
	copied := filepath.Join(at, datadir.StoreDir)
	if err := store.Clone(copied, from); err != nil {
		c.CannotMake("was not checked, for want of room for a copy of its logs: %v", err)
		return nil
	}
	s, err := store.Open(store.Options{
		Dir: copied, QuarantineDir: filepath.Join(at, "aside"), ReserveBytes: -1, RefuseDamaged: true, Logger: slog.New(slog.DiscardHandler),
	})
	if errors.Is(err, store.ErrDamaged) {
		c.Problem("is damaged; the next start will set it aside, and carry over what is right: %v", err)
		return nil
	}
	if err != nil {
		c.CannotMake("cannot be opened: %v", err)
		return nil
	}
	b := &books{cfg: cfg, log: log, store: s}
	checks, err := b.verify(ctx, local)
	report.Add(checks...)
	through := s.Watermarks()
	if err = errors.Join(err, s.Close()); err != nil {
		c.Problem("was not checked to its end: %v", err)
	}
	return through
}

// noStore says why there is no store, and what of the spools can be known then.
func noStore(from string, c *verify.Check) map[uuid.UUID]uint64 {
	if _, err := os.Stat(from + ".salvage"); err == nil {
		c.Problem("is being replaced by what could be carried over of it: the next start goes on with that")
		return nil
	}
	if store.Begun(from) {
		c.Problem("%s is gone: the next start counts what was acknowledged to it as quarantined", from)
	} else {
		c.Skipped = "there is none"
	}
	return map[uuid.UUID]uint64{}
}

// quarantined counts what was set aside, and the reports of losses: nothing that is wrong now, but something to look at.
func quarantined(dir string) *verify.Check {
	c := &verify.Check{Name: "quarantine", Of: "entries"}
	at := filepath.Join(dir, datadir.Quarantine)
	entries, err := os.ReadDir(at)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.CannotMake("%v", err)
	}
	losses := 0
	for _, e := range entries {
		if name, report := strings.CutSuffix(e.Name(), ".txt"); report {
			if _, err := os.Lstat(filepath.Join(at, name)); err == nil {
				continue // of what stands beside it
			}
			losses++
		}
		c.Checked++
	}
	if c.Checked > 0 {
		c.Skipped = fmt.Sprintf("what was set aside earlier is not checked: see %s", at)
	}
	if losses > 0 {
		c.Skipped += fmt.Sprintf("; %d are reports of what was lost", losses)
	}
	return c
}

// verify checks the store and, unless it is left out, the archive.
func (b *books) verify(ctx context.Context, local bool) ([]*verify.Check, error) {
	checks, err := b.store.Verify(ctx)
	if err != nil || local {
		return checks, err
	}
	var plans []*catalogue.Plan
	err = b.store.Plans(ctx, func(p *catalogue.Plan) error {
		c := *p
		c.Blocks = nil
		plans = append(plans, &c)
		return nil
	})
	if err != nil {
		return checks, err
	}
	target, err := openTarget(ctx, b.cfg, b.log)
	if err != nil {
		c := &verify.Check{Name: "archive", Of: "archives"}
		c.CannotMake("cannot be opened, and was not checked: %v", err)
		return append(checks, c), nil
	}
	archive, err := uploader.CheckCatalogue(ctx, plans, uploader.NewTargets(target, targetOptions(b.cfg, b.log)))
	return append(checks, archive), err
}

// verify answers POST /api/v1/verify: this process checks its spools, the books process its store and the archive.
func (t *traffic) verify(ctx context.Context, local bool) (any, error) {
	report := &verify.Report{Mode: "online"}
	spools, err := t.spool.Verify(ctx)
	if err != nil {
		return nil, err
	}
	report.Add(spools...)
	var checks []*verify.Check
	body, err := t.admin.AskBooks(ctx, http.MethodGet, fmt.Sprintf("%s?local=%t", pathVerifyBooks, local))
	if err == nil {
		err = json.Unmarshal(body, &checks)
	}
	if err != nil {
		c := &verify.Check{Name: "books process", Of: "processes"}
		c.CannotMake("cannot be asked: %v", err)
		checks = append(checks, c)
	}
	report.Add(checks...)
	report.Add(t.verifyAccounting(ctx))
	report.Add(quarantined(t.cfg.Data.Dir))
	return report, nil
}

// verifyAccounting checks that the figures add up across both processes.
func (t *traffic) verifyAccounting(ctx context.Context) *verify.Check {
	c := &verify.Check{Name: "accounting", Of: "identities"}
	a, err := t.answer(ctx)
	if err != nil {
		c.Problem("%v", err)
		return c
	}
	for _, i := range a.Identities {
		c.Checked++
		if !i.Holds {
			c.Problem("%s does not hold: %+v", i.Name, a.Accounting)
		}
	}
	return c
}
