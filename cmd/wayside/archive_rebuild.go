package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/process/books/restore"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

func newArchiveRebuild() *cobra.Command {
	var f archiveFlags
	var output, into, from, service, instance string
	cmd := &cobra.Command{
		Use: "rebuild", Short: "Rebuild the hourly statistics from the archive",
		Long: "rebuild adds up the statistics objects, or, with --origin events, the events themselves. With --into, it writes the\n" +
			"statistics and the catalogue into a new data directory, with which wayside run can continue after the loss of a disk.\n" +
			"Each event counts once, even if several objects contain it. Damaged objects are skipped and listed, and the exit code is 1.\n" +
			"Without --into, it compares the statistics with the store in --data (which no wayside may be using) and changes nothing.\n" +
			"The exit code is 1 if a row differs. Rows of hours with events that have not been archived yet always differ.",
		Example: "wayside archive rebuild --archive s3://bucket/prefix --into ./wayside-data",
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			origin := reader.Origin(from)
			if !slices.Contains([]reader.Origin{reader.FromBest, reader.FromStatistics, reader.FromEvents}, origin) {
				return cli.Usagef(cmd, "--origin %q: must be best, statistics or events", from)
			}
			b, err := f.open(ctx, cmd)
			if err != nil {
				return err
			}
			away := b.everywhere(ctx, cmd)
			bar := terminal.NewProgress(cmd.ErrOrStderr(), "asking "+b.target.String())
			defer bar.End()
			o := reader.RebuildOptions{Range: b.span, Expect: b.expect, Service: service, Instance: instance, From: origin, Progress: bar.Step}
			var done restore.Rebuilt
			if into != "" {
				done, err = restore.Statistics(ctx, b.target, into, b.cfg, o)
			} else {
				done, err = restore.Compare(ctx, b.target, b.cfg.Data.Dir, o)
			}
			bar.End()
			if err != nil {
				return err
			}
			return errors.Join(rebuiltResult(cmd, &done, output), away)
		}),
	}
	f.bind(cmd)
	cli.BindOutput(cmd, &output)
	cmd.Flags().StringVar(&into, "into", "", "new data directory")
	cmd.Flags().StringVar(&from, "origin", string(reader.FromBest), "what to add up: best, statistics or events")
	bindOrigin(cmd, &service, &instance, "objects")
	return cmd
}

// rebuiltResult prints the result of a rebuild. The error says what is missing or differs.
func rebuiltResult(cmd *cobra.Command, d *restore.Rebuilt, output string) (err error) {
	err = printResult(cmd, output, d, func(w io.Writer) error {
		report.Rebuilt(w, d)
		return nil
	})
	if err == nil {
		err = report.Unreadable(cmd.ErrOrStderr(), d.Problems)
	}
	if l := d.Local; err == nil && l != nil && l.Different+l.Missing > 0 {
		err = fmt.Errorf("statistics from the archive differ from those of the store in %d rows", l.Different+l.Missing)
	}
	return err
}
