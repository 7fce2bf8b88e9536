package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/admin/client"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/weekly"
)

// reportOutputs are the values of --output.
var reportOutputs = []string{"text", "html", "json"}

func newReport() *cobra.Command {
	var f finder
	var output string
	var week bool
	cmd := &cobra.Command{
		Use: "report", Short: "Print a review of the last seven days as text, HTML or JSON",
		Long: "report prints the last seven days of a running wayside: totals and how they have changed, each day, the busiest, slowest and\n" +
			"most frequently failing paths, what has changed since the week before, deploys, and whether the books are complete. With\n" +
			"--output html, the report is one page that needs no other file.",
		Example: "wayside report --week --output html > week.html",
		Args:    cli.NoArgs,
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			if !slices.Contains(reportOutputs, output) {
				return cli.Usagef(cmd, "--output %q: must be text, html or json", output)
			}
			if !week {
				return cli.Usagef(cmd, "--week=false: the review covers a week")
			}
			c, err := f.find(cmd)
			if err != nil {
				return err
			}
			w, err := weekly.Load(ctx, client.Patient{Client: c, Notice: cmd.ErrOrStderr()})
			if err != nil {
				return err
			}
			if output == "html" {
				return w.HTML(cmd.OutOrStdout())
			}
			return printResult(cmd, output, w, w.Text)
		}),
	}
	f.bind(cmd)
	cmd.Flags().BoolVar(&week, "week", true, "the last seven days")
	cmd.Flags().StringVar(&output, "output", "text", "text, html or json")
	return cmd
}
