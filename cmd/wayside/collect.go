package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/process"
	"github.com/wayside-proxy/wayside/process/books"
)

func newCollect() *cobra.Command {
	var f configFlags
	var inherited bool
	cmd := &cobra.Command{
		Use: "collect", Short: "Run the books process, which wayside run normally starts",
		Long: "collect drains the spool into the store, makes snapshots and archives events. wayside run starts it as a child;\n" +
			"with wayside run --no-collector, you start it yourself, with the same configuration and data directory.",
		Example: "wayside collect --data ./wayside-data",
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			process.IgnoreSIGPIPE()
			process.SetName()
			if err := process.Harden(); err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "wayside collect has more privileges than it needs:", err)
			}
			if inherited {
				return books.RunInherited(cmd.Context(), version, cmd.ErrOrStderr())
			}
			cfg, err := f.load(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
			defer cancel()
			return books.RunBeside(ctx, cfg, version, cmd.ErrOrStderr())
		},
	}
	f.bind(cmd)
	cmd.Flags().BoolVar(&inherited, "inherited", false, "use the channels and the configuration of the parent process")
	_ = cmd.Flags().MarkHidden("inherited")
	return cmd
}
