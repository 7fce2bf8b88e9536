package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
		Use: "rebuild", Short: "Make the hourly statistics again from the archive alone",
		Long: "rebuild adds up the statistics objects, or with --origin events the events themselves. With --into it writes them,\n" +
			"and the catalogue, into a new data directory, with which wayside run goes on: what the dead disk knew is there again.\n" +
			"Each event counts once, however many objects have it. An object that is damaged is left out and named, with exit code 1.\n" +
			"Without --into it compares them with the store in --data (which no wayside may be using) and changes nothing; it\n" +
			"exits 1 if a row differs. Hours of which something is not archived yet differ by that.",
		Example: "wayside archive rebuild --archive s3://bucket/prefix --into ./wayside-data",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd)
			defer cancel()
			origin := reader.Origin(from)
			if !slices.Contains([]reader.Origin{reader.FromBest, reader.FromStatistics, reader.FromEvents}, origin) {
				return cli.Usagef(cmd, "--origin %q: want best, statistics or events", from)
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
		},
	}
	f.bind(cmd)
	cli.BindOutput(cmd, &output)
	cmd.Flags().StringVar(&into, "into", "", "new data directory to write")
	cmd.Flags().StringVar(&from, "origin", string(reader.FromBest), "best, statistics or events")
	cmd.Flags().StringVar(&service, "of-service", "", "only objects of this service")
	cmd.Flags().StringVar(&instance, "of-instance", "", "only objects of this instance")
	return cmd
}

// rebuiltResult prints what was rebuilt. The error says what is missing or differs.
func rebuiltResult(cmd *cobra.Command, d *restore.Rebuilt, output string) (err error) {
	if output == "json" {
		err = json.NewEncoder(terminal.JSON(cmd.OutOrStdout())).Encode(d)
	} else {
		report.Rebuilt(cmd.OutOrStdout(), d)
	}
	if err == nil {
		err = report.Unreadable(cmd.ErrOrStderr(), d.Problems)
	}
	if l := d.Local; err == nil && l != nil && l.Different+l.Missing > 0 {
		err = fmt.Errorf("statistics from the archive differ from those of the store in %d rows", l.Different+l.Missing)
	}
	return err
}
