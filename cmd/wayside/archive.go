package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/admin/client"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/internal/query"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/internal/timeparse"
	"github.com/wayside-proxy/wayside/process/books"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

func newArchive() *cobra.Command {
	cmd := &cobra.Command{
		Use: "archive ls|verify|cat|restore|rebuild|serve", Short: "Look into the archive, check it, bring it back",
		Long: "These commands read the archive itself: give --bucket s3://bucket/prefix to read a bucket without any data\n" +
			"directory, --data DIR to read the archive of a wayside that runs there or did, or --admin URL for that of a running one.\n" +
			"With --data and --admin they also read the former archives that the catalogue knows, with the present one's credentials.",
		Args: cli.OneOf("ls", "verify", "cat", "restore", "rebuild", "serve"),
	}
	cmd.AddCommand(newArchiveLs(), newArchiveVerify(), newArchiveCat(), newArchiveRestore(), newArchiveRebuild(), newArchiveServe())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// archiveFlags are common to the commands that read the archive.
type archiveFlags struct {
	finder
	from, to string
	bucket   string // "" not given, bucketHere without an address, else the archive's URL
}

// bucketHere is the value of --bucket without an address.
const bucketHere = "here"

func (f *archiveFlags) bind(cmd *cobra.Command) {
	f.config.bind(cmd, "data", "archive", "service", "instance", "log-level", "log-format")
	for _, name := range []string{"log-level", "log-format"} { // they matter to wayside run
		_ = cmd.Flags().MarkHidden(name)
	}
	for _, name := range []string{"service", "instance"} { // not to be taken for --of-service, which selects
		cmd.Flags().Lookup(name).Usage = "what {" + name + "} in the archive's address stands for"
	}
	cmd.Flags().StringVar(&f.admin, "admin", "", "admin URL of the running wayside (default: found through the data directory)")
	cmd.Flags().StringVar(&f.from, "from", "", "from this moment on: "+timeparse.Forms)
	cmd.Flags().StringVar(&f.to, "to", "", "up to and not including this moment: as --from")
	cmd.Flags().StringVar(&f.bucket, "bucket", "", "do without any catalogue; with a URL, read this archive alone")
	cmd.Flags().Lookup("bucket").NoOptDefVal = bucketHere
	cmd.Args = f.bucketArg
}

// bucketArg takes the address behind --bucket, which may stand without the sign =.
func (f *archiveFlags) bucketArg(cmd *cobra.Command, args []string) error {
	if f.bucket == bucketHere && len(args) == 1 {
		f.bucket, args = args[0], nil
	}
	if f.bucket == bucketHere || f.bucket == "" {
		return cli.NoArgs(cmd, args)
	}
	if f.admin != "" || cmd.Flags().Changed("archive") {
		return cli.Usagef(cmd, "--bucket with a URL names the archive: leave out --archive and --admin")
	}
	if err := cmd.Flags().Set("archive", f.bucket); err != nil {
		return err
	}
	f.config.archiveFlag = "--bucket"
	return cli.NoArgs(cmd, args)
}

// span reads --from and --to.
func (f *archiveFlags) span(cmd *cobra.Command) (r reader.Range, err error) {
	now := time.Now()
	for _, b := range []struct {
		flag, text string
		to         *time.Time
	}{{"--from", f.from, &r.From}, {"--to", f.to, &r.To}} {
		if b.text == "" {
			continue
		}
		if *b.to, err = timeparse.Parse(b.text, now); err != nil {
			return r, cli.Usagef(cmd, "%s: %w", b.flag, err)
		}
	}
	if !r.To.IsZero() && !r.From.Before(r.To) {
		return r, cli.Usagef(cmd, "--from %s is not before --to %s", f.from, f.to)
	}
	return r, nil
}

// books are what an archive command works on.
type archiveBooks struct {
	cfg    *configs.Config
	target uploader.Target
	// targets also finds what the catalogue says is in former archives.
	targets *uploader.Targets
	client  *client.Client // nil if no wayside runs there
	span    reader.Range

	bucketOnly bool // no catalogue is asked for
	expect     reader.Expected
	named      bool // the command line names the archive: former ones are not meant
}

// open finds the archive: that of --bucket or --archive, else that of the running wayside, else the one that the data directory was
// last run with.
func (f *archiveFlags) open(ctx context.Context, cmd *cobra.Command) (*archiveBooks, error) {
	span, err := f.span(cmd)
	if err != nil {
		return nil, err
	}
	b := &archiveBooks{span: span, bucketOnly: f.bucket != "", named: f.bucket != "" || cmd.Flags().Changed("archive")}
	if err := f.settle(ctx, cmd, b); err != nil {
		return nil, err
	}
	address := b.cfg.ArchiveURL()
	// A mistyped directory must not look like an empty archive. One that belongs to a data directory is made with the first
	// object.
	_, noStore := os.Stat(filepath.Join(b.cfg.Data.Dir, datadir.StoreDir))
	explicit := cmd.Flags().Changed("archive") || f.admin != ""
	if dir, found := strings.CutPrefix(address, "file://"); found && (explicit || b.client == nil && noStore != nil) {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("no archive there: %w; name another with --archive or --data", err)
		}
	}
	o := books.TargetOptions(b.cfg, logsink.Logger(cmd.ErrOrStderr(), b.cfg.Log.Level, b.cfg.Log.Format, "archive"))
	if f.admin != "" {
		o.DataDir = "" // that of the wayside which answers there is not known
	}
	if b.target, err = uploader.OpenTarget(ctx, address, o); err != nil {
		return nil, err
	}
	b.targets = uploader.NewTargets(b.target, o)
	return b, nil
}

// settle finds who knows the archive, and with it the configuration.
func (f *archiveFlags) settle(ctx context.Context, cmd *cobra.Command, b *archiveBooks) error {
	now, err := f.config.load(cmd)
	if err != nil {
		return err
	}
	if b.bucketOnly && f.bucket != bucketHere { // nothing but this archive matters
		b.cfg = now
		return nil
	}
	if missing := datadir.Exists(now.Data.Dir); f.admin == "" && cmd.Flags().Changed("data") && errors.Is(missing, os.ErrNotExist) {
		return missing
	}
	if b.client, err = findAdmin(now, f.admin); err != nil && !errors.Is(err, datadir.ErrNotRunning) {
		return err
	}
	switch {
	case b.client == nil:
		b.cfg, err = f.config.loadKept(cmd)
	case f.admin == "" && cmd.Flags().Changed("archive"):
		b.cfg = now
	default:
		b.cfg, err = f.config.loadFrom(ctx, cmd, b.client)
	}
	return err
}

// everywhere makes b.target the archive together with the former ones that have something of the range, as far as a catalogue knows. The
// error names those that do not answer: for the end of the command, which reads all others.
func (b *archiveBooks) everywhere(ctx context.Context, cmd *cobra.Command) error {
	if b.named {
		return nil
	}
	plans, err := b.plans(ctx)
	if err != nil {
		if !errors.Is(err, books.ErrNoCatalogue) {
			fmt.Fprintf(cmd.ErrOrStderr(), "only %s is read: former archives are not known, because the catalogue cannot be read: %v\n", b.target, err)
		}
		return ctx.Err()
	}
	plans = slices.DeleteFunc(plans, func(p catalogue.Plan) bool { return !b.span.Touches(time.Unix(p.Hour*3600, 0)) })
	var silent []error
	b.target, silent = b.targets.Union(ctx, plans)
	if len(silent) > 0 { // what is in those is not missing
		plans = slices.DeleteFunc(plans, func(p catalogue.Plan) bool { return !b.targets.IsCurrent(p.Target) })
	}
	b.expect = reader.Expect(plans, b.span)
	return errors.Join(silent...)
}

// plans reads the catalogue: from the running wayside, else from a copy of the store in the data directory.
func (b *archiveBooks) plans(ctx context.Context) ([]catalogue.Plan, error) {
	if b.client == nil {
		return books.Plans(ctx, b.cfg.Data.Dir)
	}
	body, err := b.client.Do(ctx, http.MethodGet, admin.PathCatalogue)
	if err != nil {
		return nil, err
	}
	return books.DecodePlans(bytes.NewReader(body))
}

func newArchiveVerify() *cobra.Command {
	var f archiveFlags
	var output string
	var quick bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Compare the archive with the catalogue: every object, every hash, every sequence number",
		Long: "verify reads every object in range and compares it with the catalogue, with its own metadata, and with all others:\n" +
			"nothing may be missing, changed or there twice. Without a catalogue, objects are compared with what they say of\n" +
			"themselves. It exits 1 if anything is wrong. --quick compares presence, size and metadata only.",
		Example: "wayside archive verify --from -7d",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd)
			defer cancel()
			b, err := f.open(ctx, cmd)
			if err != nil {
				return err
			}
			var plans []catalogue.Plan
			if !b.bucketOnly {
				if plans, err = b.plans(ctx); errors.Is(err, books.ErrNoCatalogue) {
					fmt.Fprintln(cmd.ErrOrStderr(), err.Error()+"; objects are compared with their own metadata")
				} else if err != nil {
					return err
				}
			}
			bar := terminal.NewProgress(cmd.ErrOrStderr(), "asking "+b.target.String())
			found, err := reader.Verify(ctx, b.target, reader.VerifyOptions{Range: b.span, Plans: plans, Targets: b.targets, Quick: quick, Progress: bar.Step})
			bar.End()
			if err != nil {
				return err
			}
			if output == "json" {
				err = json.NewEncoder(terminal.JSON(cmd.OutOrStdout())).Encode(found)
			} else {
				report.Archive(cmd.OutOrStdout(), found)
			}
			if n := len(found.Problems); err == nil && n > 0 {
				err = fmt.Errorf("the archive is not as it should be: %s", terminal.Counted(n, "problem"))
			}
			return err
		},
	}
	f.bind(cmd)
	cli.BindOutput(cmd, &output)
	cmd.Flags().BoolVar(&quick, "quick", false, "compare presence, size and metadata; read no object")
	return cmd
}

func newArchiveCat() *cobra.Command {
	var f archiveFlags
	var filter reader.Filter
	var status string
	var limit uint64
	cmd := &cobra.Command{
		Use: "cat", Short: "Print archived events as NDJSON, by time, path and status",
		Example: "wayside archive cat --from -24h --path '/users/*' --status 4xx,5xx",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd)
			defer cancel()
			var err error
			if filter.Status, err = query.ParseStatuses(status); err != nil {
				return cli.Usagef(cmd, "--status: %w", err)
			}
			if err := checkPath(cmd, filter.Path); err != nil {
				return err
			}
			b, err := f.open(ctx, cmd)
			if err != nil {
				return err
			}
			filter.Range = b.span
			away := b.everywhere(ctx, cmd)
			filter.Expect = b.expect
			done, err := reader.Cat(ctx, b.target, filter, terminal.JSON(cmd.OutOrStdout()), limit)
			if errors.Is(err, syscall.EPIPE) {
				return nil // whoever reads has had enough
			}
			if done.Repeated > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "left out, because objects before had the same events: %s\n", terminal.Counted(done.Repeated, "line"))
			}
			return errors.Join(err, report.Unreadable(cmd.ErrOrStderr(), done.Problems), away)
		},
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&filter.Path, "path", "", "path as received or template; a trailing * makes it a prefix")
	cmd.Flags().StringVar(&status, "status", "", "only these statuses: "+query.StatusForms)
	cmd.Flags().StringVar(&filter.Method, "method", "", "request method")
	cmd.Flags().StringVar(&filter.RequestID, "request-id", "", "only the event with this X-Request-ID; answers of wayside's own have one, others with record.request_id")
	cmd.Flags().StringVar(&filter.Service, "of-service", "", "only events of this service")
	cmd.Flags().StringVar(&filter.Instance, "of-instance", "", "only events of this instance")
	cmd.Flags().BoolVar(&filter.Drops, "drops", false, "drop records too")
	cmd.Flags().Uint64Var(&limit, "limit", 0, "end after so many lines (0: all)")
	return cmd
}
