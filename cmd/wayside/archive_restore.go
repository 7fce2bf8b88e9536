package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/process/books"
	"github.com/wayside-proxy/wayside/process/books/restore"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

func newArchiveRestore() *cobra.Command {
	var f archiveFlags
	var output, into, service, instance string
	cmd := &cobra.Command{
		Use: "restore", Short: "Restore a range of the archive into a separate directory, for queries",
		Long: "restore creates a data directory with the events of a range, their statistics and a verified copy of their objects\n" +
			"(below archive/). wayside archive serve --data DIR answers queries on it, and DuckDB reads its archive/ folder. Whole\n" +
			"hours are restored. Nothing in the archive changes.",
		Example: "wayside archive restore --from 2026-11-20 --to 2026-11-21 --into ./november-20",
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			if into == "" {
				return cli.Usagef(cmd, "--into names the new directory")
			}
			b, err := f.open(ctx, cmd)
			if err != nil {
				return err
			}
			away := b.everywhere(ctx, cmd)
			bar := terminal.NewProgress(cmd.ErrOrStderr(), "asking "+b.target.String())
			copied, err := restore.Events(ctx, b.target, into, reader.CopyOptions{Range: b.span, Expect: b.expect, Service: service, Instance: instance, Progress: bar.Step})
			bar.End()
			if err != nil {
				return err
			}
			err = printResult(cmd, output, copied, func(w io.Writer) error {
				report.Repeated(w, copied.Repeated)
				_, err := fmt.Fprintf(w, "%s, %s, %s in %s restored into %s\nlook at it: wayside archive serve --data %s\n",
					terminal.Counted(copied.Objects, "object"), terminal.Counted(copied.Bytes, "byte"), terminal.Counted(copied.Rows, "row"), terminal.Counted(copied.Lines, "line"), into, into)
				return err
			})
			return errors.Join(err, report.Unreadable(cmd.ErrOrStderr(), copied.Problems), away)
		}),
	}
	f.bind(cmd)
	cli.BindOutput(cmd, &output)
	cmd.Flags().StringVar(&into, "into", "", "new data directory")
	bindOrigin(cmd, &service, &instance, "objects")
	return cmd
}

func newArchiveServe() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use: "serve", Short: "Serve the dashboard and the API for a restored data directory, without changing anything in it",
		Long: "serve provides the dashboard and the API for a data directory that no wayside is using: one from archive restore or\n" +
			"archive rebuild, or one whose wayside has stopped. It works on a copy of the store, made with hard links. It forwards no\n" +
			"traffic, and drains, archives and deletes nothing. It runs until Ctrl-C.",
		Example: "wayside archive serve --data ./november-20 --admin 127.0.0.1:8099", Args: cli.NoArgs,
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			cfg, err := f.load(cmd)
			if err != nil {
				return err
			}
			return books.Serve(ctx, cfg, logger(cmd, cfg, "serve"), cmd.OutOrStdout())
		}),
	}
	f.bind(cmd, "data", "archive", "admin", "service", "instance", "log-level", "log-format")
	return cmd
}
