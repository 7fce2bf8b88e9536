package main

import (
	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/process/books"
)

func newArchiveServe() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use: "serve", Short: "Answer queries on a restored data directory, without changing anything in it",
		Long: "serve opens the dashboard and the API on a data directory that no wayside is using: one that archive restore or\n" +
			"archive rebuild made, or one whose wayside has stopped. It works on a copy of the store whose tables are links, carries\n" +
			"no traffic, drains, archives and deletes nothing, and answers until Ctrl-C.",
		Example: "wayside archive serve --data ./november-20 --admin 127.0.0.1:8099", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd)
			defer cancel()
			cfg, err := f.load(cmd)
			if err != nil {
				return err
			}
			return books.Serve(ctx, cfg, logsink.Logger(cmd.ErrOrStderr(), cfg.Log.Level, cfg.Log.Format, "serve"), cmd.OutOrStdout())
		},
	}
	f.bind(cmd, "data", "archive", "admin", "service", "instance", "log-level", "log-format")
	return cmd
}
