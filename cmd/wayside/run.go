package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/process"
	"github.com/wayside-proxy/wayside/process/traffic"
)

func newRun() *cobra.Command {
	f := configFlags{forTraffic: true}
	cmd := &cobra.Command{
		Use: "run", Short: "Forward traffic and keep the books",
		Example: "wayside run --upstream http://127.0.0.1:8080",
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load(cmd)
			if err != nil {
				return err
			}
			if err := cfg.RequireUpstream(); err != nil {
				return err
			}
			process.IgnoreSIGPIPE()
			unhardened := process.Harden()
			signals := make(chan os.Signal, 2)
			signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
			defer signal.Stop(signals)
			return traffic.Run(cmd.Context(), traffic.Options{
				Config: cfg, Reload: func() (*configs.Config, error) { return f.load(cmd) },
				LogTo: cmd.ErrOrStderr(), AccessTo: cmd.OutOrStdout(), Signals: signals, Unhardened: unhardened,
				Version: version, Commit: revision(),
			})
		},
	}
	f.bind(cmd)
	cmd.Flags().BoolVar(&f.noCollector, "no-collector", false, "do not start the books process; you run wayside collect yourself")
	return cmd
}
