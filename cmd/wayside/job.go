package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/spool"
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
	for _, name := range jobNames {
		cmd.AddCommand(newJobCommand(name))
	}
	cmd.Args = oneOf(jobNames...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

func newJobCommand(name string) *cobra.Command {
	var f finder
	var all bool
	var output string
	cmd := &cobra.Command{
		Use: name, Short: "Run the " + name + " job now", Example: "wayside job " + name + " --data ./wayside-data", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
			defer cancel()
			done, err := runJob(ctx, cmd, &f, name, all)
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(terminal.JSON(cmd.OutOrStdout())).Encode(done)
			}
			if done.Capacity != nil {
				return printCapacity(cmd.OutOrStdout(), done.Capacity)
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
	bindOutput(cmd, &output)
	return cmd
}

func bindOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVar(output, "output", "text", "text or json")
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if *output != "text" && *output != "json" {
			return &usageError{fmt.Errorf("--output %q: want text or json", *output), cmd.CommandPath() + " --output json"}
		}
		if before != nil {
			return before(cmd, args)
		}
		return nil
	}
}

// jobDone is what a job did.
type jobDone struct {
	Job     string `json:"job"`
	Objects int    `json:"objects"` // archived, or whose local events were deleted
	Rows    uint64 `json:"rows"`
	Bytes   uint64 `json:"bytes"`
	Expired int    `json:"expired,omitempty"` // objects removed from the archive
	// Spooled are responses that wait in the spool: not applied, and so not archived. Only known where no wayside runs.
	Spooled uint64 `json:"spooled,omitempty"`

	// Young are events that are not archived yet, because they were applied less than After ago, which is archive.after.
	Young uint64 `json:"young,omitempty"`
	After string `json:"archive_after,omitempty"`

	Capacity *collector.Capacity `json:"capacity,omitempty"` // of report
}

// runJob runs a job in the running wayside, or in this process when the data directory is not in use.
func runJob(ctx context.Context, cmd *cobra.Command, f *finder, name string, all bool) (jobDone, error) {
	c, err := f.find(cmd)
	if errors.Is(err, datadir.ErrNotRunning) {
		cfg, err := f.config.loadKept(cmd)
		if err != nil {
			return jobDone{}, err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "archive: %s\n", terminal.Safe(cfg.ArchiveURL()))
		return runJobHere(ctx, cfg, cmd, name, all)
	}
	if err == nil && cmd.Flags().Changed("archive") {
		err = &usageError{errors.New("wayside runs on this data directory, and its own configuration says which archive it has"), exampleOf(cmd)}
	}
	if err != nil {
		return jobDone{}, err
	}
	body, err := c.do(ctx, http.MethodPost, fmt.Sprintf("%s%s?all=%t", pathJob, name, all))
	if err != nil {
		return jobDone{}, err
	}
	var done jobDone
	return done, json.Unmarshal(body, &done)
}

// runJobHere opens the books for the length of one job. It never makes a data directory: a mistyped --data must not look
// like an empty one.
func runJobHere(ctx context.Context, cfg *configs.Config, cmd *cobra.Command, name string, all bool) (jobDone, error) {
	if _, err := os.Stat(cfg.Data.Dir); err != nil {
		return jobDone{}, fmt.Errorf("data directory: %w", err)
	}
	if err := datadir.CheckUser(cfg.Data.Dir); err != nil {
		return jobDone{}, err
	}
	lock, err := datadir.Acquire(cfg.Data.Dir, datadir.CollectLock)
	if err != nil {
		return jobDone{}, err
	}
	defer func() { _ = lock.Release() }()
	b, err := openBooks(ctx, cfg, nil, logsink.Logger(cmd.ErrOrStderr(), cfg.Log.Level, cfg.Log.Format, "job"))
	if err != nil {
		return jobDone{}, err
	}
	done, err := b.job(ctx, name, all)
	if err == nil && name == "archive" {
		done.Spooled, err = spool.Waiting(ctx, filepath.Join(cfg.Data.Dir, datadir.SpoolDir), b.store.Watermarks())
	}
	return done, errors.Join(err, b.close())
}
