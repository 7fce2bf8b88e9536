package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/process/books/restore"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

func newArchiveRestore() *cobra.Command {
	var f archiveFlags
	var output, into, service, instance string
	cmd := &cobra.Command{
		Use: "restore", Short: "Bring a range of the archive back into a separate directory, for queries",
		Long: "restore makes a data directory with the events of a range, their statistics and a verified copy of their objects\n" +
			"(below archive/). wayside archive serve --data DIR answers queries on it, and DuckDB reads its archive/ folder. Whole\n" +
			"hours are restored. Nothing in the archive changes.",
		Example: "wayside archive restore --from 2026-11-20 --to 2026-11-21 --into ./november-20",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd)
			defer cancel()
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
			if output == "json" {
				return errors.Join(json.NewEncoder(terminal.JSON(cmd.OutOrStdout())).Encode(copied), report.Unreadable(cmd.ErrOrStderr(), copied.Problems), away)
			}
			report.Repeated(cmd.OutOrStdout(), copied.Repeated)
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s, %s, %s in %s restored into %s\nlook at it: wayside archive serve --data %s\n",
				terminal.Counted(copied.Objects, "object"), terminal.Counted(copied.Bytes, "byte"), terminal.Counted(copied.Rows, "row"), terminal.Counted(copied.Lines, "line"), into, into)
			return errors.Join(err, report.Unreadable(cmd.ErrOrStderr(), copied.Problems), away)
		},
	}
	f.bind(cmd)
	cli.BindOutput(cmd, &output)
	cmd.Flags().StringVar(&into, "into", "", "new data directory to write")
	cmd.Flags().StringVar(&service, "of-service", "", "only objects of this service")
	cmd.Flags().StringVar(&instance, "of-instance", "", "only objects of this instance")
	return cmd
}
