package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/process/books"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

func newArchiveLs() *cobra.Command {
	var f archiveFlags
	var output, state string
	cmd := &cobra.Command{
		Use: "ls", Short: "List the archive's objects by range, with totals",
		Long: "ls lists the objects in the catalogue. With --bucket, or if there is no catalogue, it lists the objects in the bucket,\n" +
			"including those of other services and instances.",
		Example: "wayside archive ls --from -24h --output json",
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			if !slices.Contains([]catalogue.State{"", catalogue.Planned, catalogue.Verified, catalogue.Deleted}, catalogue.State(state)) {
				return cli.Usagef(cmd, "--state %q: must be planned, verified or deleted", state)
			}
			b, err := f.open(ctx, cmd)
			if err != nil {
				return err
			}
			var l report.Listing
			bucket := b.bucketOnly
			if !bucket {
				plans, err := b.plans(ctx)
				bucket = errors.Is(err, books.ErrNoCatalogue)
				if err != nil && !bucket {
					return err
				}
				l.AddPlans(plans, b.span, catalogue.State(state))
			}
			if bucket {
				l.Bucket = []uploader.Object{}
				bar := terminal.NewProgress(cmd.ErrOrStderr(), "asking "+b.target.String())
				defer bar.End()
				err = reader.List(ctx, b.target, b.span, func(o uploader.Object) error {
					l.Objects++
					l.Bytes += uint64(max(o.Size, 0))
					l.Bucket = append(l.Bucket, o)
					bar.Step(l.Objects, 0, terminal.Counted(l.Objects, "object")+", "+o.Key)
					return nil
				})
				bar.End()
				if err != nil {
					return err
				}
			}
			return printResult(cmd, output, l, l.Print)
		}),
	}
	f.bind(cmd)
	cli.BindOutput(cmd, &output)
	cmd.Flags().StringVar(&state, "state", "", "only objects in this state: planned, verified or deleted (locally)")
	return cmd
}
