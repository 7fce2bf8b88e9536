package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/process/books"
)

func newJob() *cobra.Command {
	cmd := &cobra.Command{
		Use: "job archive|clean|report|prune", Short: "Run a scheduled job now",
		Long: "archive uploads what is due (with --all, everything); clean deletes local events that are archived and older\n" +
			"than retention.events, and objects older than archive.expire; report measures the data directory and says when it\n" +
			"will be full; prune removes what serves nobody any more. The job runs in the running wayside, or here if none uses\n" +
			"the data directory, with the configuration that the directory was last run with; flags and --config outweigh that, and\n" +
			"credentials come from the environment. Jobs never overlap.",
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
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd)
			defer cancel()
			done, err := runJob(ctx, cmd, &f, name, all)
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(terminal.JSON(cmd.OutOrStdout())).Encode(done)
			}
			if done.Capacity != nil {
				return report.Capacity(cmd.OutOrStdout(), done.Capacity)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, %s, %s\n", name, terminal.Counted(done.Objects, "object"), terminal.Counted(done.Rows, "row"), terminal.Counted(done.Bytes, "byte"))
			if done.Young > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s younger than archive.after (%s); --all archives them too\n", are(done.Young, "event"), done.After)
			}
			if done.Spooled > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "%d responses wait in the spool and are not archived: start wayside run on this directory, which takes them up\n", done.Spooled)
			}
			return err
		},
	}
	f.bind(cmd, "archive")
	if name == "archive" {
		cmd.Flags().BoolVar(&all, "all", false, "archive everything applied, however recent")
	}
	cli.BindOutput(cmd, &output)
	return cmd
}

// runJob runs a job in the running wayside, or in this process when the data directory is not in use.
func runJob(ctx context.Context, cmd *cobra.Command, f *finder, name string, all bool) (books.JobDone, error) {
	c, err := f.find(cmd)
	if errors.Is(err, datadir.ErrNotRunning) {
		cfg, err := f.config.loadKept(cmd)
		if err != nil {
			return books.JobDone{}, err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "archive: %s\n", terminal.Safe(cfg.ArchiveURL()))
		return books.RunJob(ctx, cfg, logsink.Logger(cmd.ErrOrStderr(), cfg.Log.Level, cfg.Log.Format, "job"), name, all)
	}
	if err == nil {
		err = refuseArchive(cmd)
	}
	if err != nil {
		return books.JobDone{}, err
	}
	body, err := c.Do(ctx, http.MethodPost, fmt.Sprintf("%s%s?all=%t", admin.PathJob, name, all))
	if err != nil {
		return books.JobDone{}, err
	}
	var done books.JobDone
	return done, json.Unmarshal(body, &done)
}

// are is counted with its verb: 1 event is, 2 events are.
func are(n uint64, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return terminal.Counted(n, what) + " are"
}

// refuseArchive refuses --archive for what the running wayside does.
func refuseArchive(cmd *cobra.Command) error {
	if cmd.Flags().Changed("archive") {
		return cli.Usagef(cmd, "wayside runs on this data directory, and its own configuration says which archive it has")
	}
	return nil
}
