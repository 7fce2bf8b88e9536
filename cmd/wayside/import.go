package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/internal/weblog"
	"github.com/wayside-proxy/wayside/process/books/logimport"
)

// importFlags are the flags of `wayside import`.
type importFlags struct {
	finder
	format, output string
	fields         []string
	o              logimport.Options
}

func newImport() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use: "import FILE…", Short: "Import access logs of nginx and Caddy, from the time before wayside",
		Long: "import reads access logs, compressed by gzip or not, and adds their responses to the statistics in the data directory, by\n" +
			"hour and path. No wayside may be using the directory; if it does not exist, import creates it. Formats: nginx's combined,\n" +
			"nginx's JSON (fields named like its variables), and Caddy's JSON. The rows have the route (imported), so that you can tell\n" +
			"them apart. The accounting does not include them, they have no events, and they are not archived: keep the logs. Each line\n" +
			"counts once: importing a file again adds nothing, and if a file has grown, only its new lines are counted. If any line\n" +
			"cannot be read, nothing is imported, the unreadable lines are listed, and the exit code is 1.",
		Example: "wayside import --data ./wayside-data --host example.org /var/log/nginx/access.log*",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usagef(cmd, "%s takes the names of log files, the oldest first", cmd.CommandPath())
			}
			return nil
		},
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			f.o.Files = args
			if err := f.parser(cmd); err != nil {
				return err
			}
			return f.run(ctx, cmd)
		}),
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&f.format, "format", "auto", "auto, combined, json or caddy")
	cmd.Flags().StringArrayVar(&f.fields, "field", nil, "`MEANING=NAME` of a field in JSON: "+strings.Join(weblog.Meanings(), ", "))
	cmd.Flags().StringVar(&f.o.Parser.Host, "host", "", "host for lines that do not contain one, as in the combined format")
	cmd.Flags().BoolVar(&f.o.SkipUnreadable, "skip-unreadable", false, "import even if some lines cannot be read; those are not counted")
	cmd.Flags().BoolVar(&f.o.Separate, "separate", false, "import files that begin like an imported log but continue differently")
	cmd.Flags().BoolVar(&f.o.DryRun, "dry-run", false, "only read the files")
	cli.BindOutput(cmd, &f.output)
	return cmd
}

// parser sets the options of the parser.
func (f *importFlags) parser(cmd *cobra.Command) error {
	p := &f.o.Parser
	if f.format != "auto" {
		if p.Format = weblog.Format(f.format); !slices.Contains(weblog.Formats, p.Format) {
			return cli.Usagef(cmd, "--format %q: must be auto, combined, json or caddy", f.format)
		}
	}
	p.Fields = map[string]string{}
	for _, text := range f.fields {
		meaning, name, ok := strings.Cut(text, "=")
		if !ok || name == "" || !slices.Contains(weblog.Meanings(), meaning) {
			return cli.Usagef(cmd, "--field %q: must be MEANING=NAME, where MEANING is one of %s", text, strings.Join(weblog.Meanings(), ", "))
		}
		p.Fields[meaning] = name
	}
	return nil
}

func (f *importFlags) run(ctx context.Context, cmd *cobra.Command) error {
	c, cfg, err := f.locate(cmd)
	if err != nil {
		return err
	}
	if c != nil {
		return fmt.Errorf("%w: wayside import needs exclusive access; stop wayside, run the import, and start wayside again", datadir.ErrInUse)
	}
	bar := terminal.NewProgress(cmd.ErrOrStderr(), "reading")
	defer bar.End()
	f.o.Progress = bar.Step
	files, err := logimport.Import(ctx, cfg, logger(cmd, cfg, "import"), f.o)
	bar.End()
	if err != nil && !errors.Is(err, logimport.ErrUnreadable) {
		return err
	}
	if errors.Is(err, logimport.ErrUnreadable) {
		err = fmt.Errorf("nothing was imported: %w; correct these lines, or skip them with --skip-unreadable", err)
	}
	dry := f.o.DryRun || err != nil
	return errors.Join(printResult(cmd, f.output, files, func(w io.Writer) error { return report.Imported(w, files, dry) }), err)
}
