package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/process/doctor"
)

// errNotHealthy is the error of wayside doctor if a check has failed. The findings say which.
var errNotHealthy = errors.New("at least one check has failed")

func newDoctor() *cobra.Command {
	f := configFlags{forTraffic: true}
	var output string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Find what is wrong with the configuration, this machine, the upstream and the archive",
		Long: "doctor tries what wayside will need: it listens, connects to the upstream, writes to the data directory, and writes, reads,\n" +
			"lists and deletes an object in the archive. It removes what it has created. Run it with the flags, the environment and\n" +
			"the user of wayside run, before the start or next to a running wayside. The exit code is 1 if a check has failed;\n" +
			"warnings do not count.",
		Example: "wayside doctor --config /etc/wayside.yaml", Args: cli.NoArgs,
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			findings := f.examine(ctx, cmd)
			err := printResult(cmd, output, findings, func(w io.Writer) error { return report.Findings(w, findings) })
			if err == nil && doctor.AnyFailed(findings) {
				err = errNotHealthy
			}
			return err
		}),
	}
	f.bind(cmd)
	cli.BindOutput(cmd, &output)
	return cmd
}

func (f *configFlags) examine(ctx context.Context, cmd *cobra.Command) []doctor.Finding {
	cfg, err := f.load(cmd)
	if err != nil {
		return doctor.Refused(err)
	}
	o := doctor.Options{Config: cfg, Version: version}
	if running, err := findAdmin(cfg, ""); err == nil {
		o.Running = running
	}
	return doctor.Examine(ctx, o)
}
