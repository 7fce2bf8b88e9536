package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/process/books"
)

func newJob() *cobra.Command {
	cmd := &cobra.Command{
		Use: "job archive|clean|report|prune", Short: "Run a scheduled job now",
		Long: "archive uploads the events that are due (with --all, all of them). clean deletes local events that have been archived and are\n" +
			"older than retention.events, and objects older than archive.expire. report measures the data directory and says when\n" +
			"it will be full. prune removes data that is no longer needed. The job runs in the running wayside. If none uses the data\n" +
			"directory, it runs in this command, with the configuration of the last run there. Flags and --config take precedence\n" +
			"over that, and credentials come from the environment. Jobs never overlap.",
	}
	for _, name := range books.JobNames {
		cmd.AddCommand(newJobCommand(name))
	}
	cmd.Args = cli.OneOf(books.JobNames...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

func newJobCommand(name string) *cobra.Command {
	var f finder
	var all bool
	var output string
	cmd := &cobra.Command{
		Use: name, Short: "Run the " + name + " job now", Example: "wayside job " + name + " --data ./wayside-data", Args: cli.NoArgs,
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			done, err := runJob(ctx, cmd, &f, name, all)
			if err != nil {
				return err
			}
			return printResult(cmd, output, done, func(w io.Writer) error {
				if done.Capacity != nil {
					return report.Capacity(w, done.Capacity)
				}
				_, err := fmt.Fprintf(w, "%s: %s, %s, %s\n", name, terminal.Counted(done.Objects, "object"), terminal.Counted(done.Rows, "row"), terminal.Counted(done.Bytes, "byte"))
				if done.Young > 0 {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s younger than archive.after (%s); --all archives them too\n", are(done.Young, "event"), done.After)
				}
				if done.Spooled > 0 {
					fmt.Fprintf(cmd.ErrOrStderr(), "%d responses are waiting in the spool and are not archived: start wayside run on this directory, which applies them\n", done.Spooled)
				}
				return err
			})
		}),
	}
	f.bind(cmd, "archive")
	if name == "archive" {
		cmd.Flags().BoolVar(&all, "all", false, "archive all applied events, however recent")
	}
	cli.BindOutput(cmd, &output)
	return cmd
}

// runJob runs a job in the running wayside or, if no wayside uses the data directory, in this process.
func runJob(ctx context.Context, cmd *cobra.Command, f *finder, name string, all bool) (done books.JobDone, err error) {
	c, cfg, err := f.locate(cmd)
	if err != nil {
		return done, err
	}
	if c == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "archive: %s\n", terminal.Safe(cfg.ArchiveURL()))
		return books.RunJob(ctx, cfg, logger(cmd, cfg, "job"), name, all)
	}
	if err := refuseArchive(cmd); err != nil {
		return done, err
	}
	err = c.JSON(ctx, http.MethodPost, fmt.Sprintf("%s%s?all=%t", admin.PathJob, name, all), nil, &done)
	return done, err
}

// are returns a count with its verb, such as "1 event is" or "2 events are".
func are(n uint64, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return terminal.Counted(n, what) + " are"
}

// refuseArchive rejects --archive if a running wayside does the work.
func refuseArchive(cmd *cobra.Command) error {
	if cmd.Flags().Changed("archive") {
		return cli.Usagef(cmd, "a running wayside uses this data directory, with the archive of its own configuration: leave out --archive")
	}
	return nil
}
