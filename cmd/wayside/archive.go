package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
		Use: "archive ls|verify|cat|restore|rebuild|serve", Short: "List, check, read and restore the archive",
		Long: "These commands read the archive itself. --bucket s3://bucket/prefix reads a bucket without a data directory. --data DIR\n" +
			"reads the archive of the wayside that uses or used this directory; --admin URL reads that of a running wayside. With --data\n" +
			"or --admin, the commands also read the former archives in the catalogue, using the current credentials.",
		Args: cli.OneOf("ls", "verify", "cat", "restore", "rebuild", "serve"),
	}
	cmd.AddCommand(newArchiveLs(), newArchiveVerify(), newArchiveCat(), newArchiveRestore(), newArchiveRebuild(), newArchiveServe())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// archiveFlags are the flags shared by the commands that read the archive.
type archiveFlags struct {
	finder
	from, to string
	bucket   string // "" without --bucket; bucketHere for --bucket without a URL; otherwise the URL
}

// bucketHere is the value of --bucket if it has no URL.
const bucketHere = "here"

func (f *archiveFlags) bind(cmd *cobra.Command) {
	f.config.bind(cmd, "data", "archive", "service", "instance", "log-level", "log-format")
	for _, name := range []string{"log-level", "log-format"} { // these are for `wayside run`
		_ = cmd.Flags().MarkHidden(name)
	}
	for _, name := range []string{"service", "instance"} { // unlike --of-service, these do not select events
		cmd.Flags().Lookup(name).Usage = "the value of {" + name + "} in the address of the archive"
	}
	cmd.Flags().StringVar(&f.admin, "admin", "", "admin URL of the running wayside (default: found through the data directory)")
	cmd.Flags().StringVar(&f.from, "from", "", "beginning of the range: "+timeparse.Forms)
	cmd.Flags().StringVar(&f.to, "to", "", "end of the range (exclusive), in the same forms as --from")
	cmd.Flags().StringVar(&f.bucket, "bucket", "", "do not use the catalogue; with a URL, read only this archive")
	cmd.Flags().Lookup("bucket").NoOptDefVal = bucketHere
	cmd.Args = f.bucketArg
}

// bucketArg accepts "--bucket URL" in addition to "--bucket=URL".
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

// archiveBooks is the archive that a command works on. It includes the configuration, the running wayside, and the selected range of
// time.
type archiveBooks struct {
	cfg    *configs.Config
	target uploader.Target
	// targets also opens former archives.
	targets *uploader.Targets
	client  *client.Client // nil if no wayside is using the data directory
	span    reader.Range

	bucketOnly bool // use no catalogue
	expect     reader.Expected
	named      bool // whether the command line names the archive; if so, former archives are ignored
}

// open opens the archive: the one in --bucket or --archive, otherwise the archive of the running wayside, otherwise the archive of the
// last run on the data directory.
func (f *archiveFlags) open(ctx context.Context, cmd *cobra.Command) (*archiveBooks, error) {
	span, err := f.span(cmd)
	if err != nil {
		return nil, err
	}
	b := &archiveBooks{span: span, bucketOnly: f.bucket != "", named: f.bucket != "" || cmd.Flags().Changed("archive")}
	if err := f.loadConfig(ctx, cmd, b); err != nil {
		return nil, err
	}
	address := b.cfg.ArchiveURL()
	// A mistyped directory must not look like an empty archive. But an archive inside a data directory does not exist
	// until the first object is written.
	_, noStore := os.Stat(filepath.Join(b.cfg.Data.Dir, datadir.StoreDir))
	explicit := cmd.Flags().Changed("archive") || f.admin != ""
	if dir, found := strings.CutPrefix(address, "file://"); found && (explicit || b.client == nil && noStore != nil) {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("the archive does not exist: %w; name another one with --archive or --data", err)
		}
	}
	o := books.TargetOptions(b.cfg, logger(cmd, b.cfg, "archive"))
	if f.admin != "" {
		o.DataDir = "" // the data directory of that wayside is unknown
	}
	if b.target, err = uploader.OpenTarget(ctx, address, o); err != nil {
		return nil, err
	}
	b.targets = uploader.NewTargets(b.target, o)
	return b, nil
}

// loadConfig finds the configuration that names the archive, and the running wayside if there is one.
func (f *archiveFlags) loadConfig(ctx context.Context, cmd *cobra.Command, b *archiveBooks) error {
	now, err := f.config.load(cmd)
	if err != nil {
		return err
	}
	if b.bucketOnly && f.bucket != bucketHere { // only this archive matters
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
		b.cfg, err = f.config.loadLastRun(cmd)
	case f.admin == "" && cmd.Flags().Changed("archive"):
		b.cfg = now
	default:
		b.cfg, err = f.config.loadFrom(ctx, cmd, b.client)
	}
	return err
}

// everywhere extends b.target to those former archives that have objects in the range, according to the catalogue. The error names former
// archives that do not respond. The command reads the others and reports the error when it ends.
func (b *archiveBooks) everywhere(ctx context.Context, cmd *cobra.Command) error {
	if b.named {
		return nil
	}
	plans, err := b.plans(ctx)
	if err != nil {
		if !errors.Is(err, books.ErrNoCatalogue) {
			fmt.Fprintf(cmd.ErrOrStderr(), "reading only %s: the catalogue cannot be read, so former archives are not known: %v\n", b.target, err)
		}
		return ctx.Err()
	}
	plans = slices.DeleteFunc(plans, func(p catalogue.Plan) bool { return !b.span.Touches(time.Unix(p.Hour*3600, 0)) })
	var silent []error
	b.target, silent = b.targets.Union(ctx, plans)
	if len(silent) > 0 { // objects of these archives must not count as missing
		plans = slices.DeleteFunc(plans, func(p catalogue.Plan) bool { return !b.targets.IsCurrent(p.Target) })
	}
	b.expect = reader.Expect(plans, b.span)
	return errors.Join(silent...)
}

// plans reads the catalogue from the running wayside, or from a copy of the store in the data directory.
func (b *archiveBooks) plans(ctx context.Context) ([]catalogue.Plan, error) {
	if b.client == nil {
		return books.Plans(ctx, b.cfg.Data.Dir)
	}
	body, err := b.client.Ask(ctx, admin.PathCatalogue)
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
		Long: "verify reads every object in the range and compares it with the catalogue, with its own metadata, and with all others:\n" +
			"nothing may be missing, changed or duplicated. Without a catalogue, objects are only compared with their own metadata.\n" +
			"The exit code is 1 if anything is wrong. --quick compares only presence, size and metadata.",
		Example: "wayside archive verify --from -7d",
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			b, err := f.open(ctx, cmd)
			if err != nil {
				return err
			}
			var plans []catalogue.Plan
			if !b.bucketOnly {
				if plans, err = b.plans(ctx); errors.Is(err, books.ErrNoCatalogue) {
					fmt.Fprintln(cmd.ErrOrStderr(), err.Error()+"; comparing objects with their own metadata")
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
			err = printResult(cmd, output, found, func(w io.Writer) error {
				report.Archive(w, found)
				return nil
			})
			if n := len(found.Problems); err == nil && n > 0 {
				err = fmt.Errorf("the archive is not as it should be: %s", terminal.Counted(n, "problem"))
			}
			return err
		}),
	}
	f.bind(cmd)
	cli.BindOutput(cmd, &output)
	cmd.Flags().BoolVar(&quick, "quick", false, "compare only presence, size and metadata; read no objects")
	return cmd
}

func newArchiveCat() *cobra.Command {
	var f archiveFlags
	var filter reader.Filter
	var status, grpc string
	var limit uint64
	cmd := &cobra.Command{
		Use: "cat", Short: "Print archived events as NDJSON, by time, path and status",
		Example: "wayside archive cat --from -24h --path '/users/*' --status 4xx,5xx",
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			var err error
			if filter.Status, err = query.ParseStatuses(status); err != nil {
				return cli.Usagef(cmd, "--status: %w", err)
			}
			if filter.GRPC, err = query.ParseGRPC(grpc); err != nil {
				return cli.Usagef(cmd, "--grpc: %w", err)
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
				return nil // the reader of the output has closed the pipe
			}
			if done.Repeated > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "left out, because earlier objects had the same events: %s\n", terminal.Counted(done.Repeated, "line"))
			}
			return errors.Join(err, report.Unreadable(cmd.ErrOrStderr(), done.Problems), away)
		}),
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&filter.Path, "path", "", "path as received, or template; a trailing * makes it a prefix")
	cmd.Flags().StringVar(&status, "status", "", "only these statuses: "+query.StatusForms)
	cmd.Flags().StringVar(&filter.Method, "method", "", "request method")
	cmd.Flags().StringVar(&filter.Route, "route", "", "only events of this route")
	cmd.Flags().StringVar(&grpc, "grpc", "", "only gRPC calls with these statuses: "+query.GRPCForms)
	cmd.Flags().StringVar(&filter.RequestID, "request-id", "", "only the event with this X-Request-ID, which is recorded for responses that wayside makes itself and, with record.request_id, for all others")
	bindOrigin(cmd, &filter.Service, &filter.Instance, "events")
	cmd.Flags().BoolVar(&filter.Drops, "drops", false, "print drop records as well")
	cmd.Flags().Uint64Var(&limit, "limit", 0, "stop after this many lines (0: print all)")
	return cmd
}

// bindOrigin adds the flags that select the service and the instance of objects or events.
func bindOrigin(cmd *cobra.Command, service, instance *string, what string) {
	cmd.Flags().StringVar(service, "of-service", "", "only "+what+" of this service")
	cmd.Flags().StringVar(instance, "of-instance", "", "only "+what+" of this instance")
}
