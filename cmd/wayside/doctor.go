package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/process"
	"github.com/wayside-proxy/wayside/process/doctor"
)

// errNotHealthy is the error of `wayside doctor` if a check has failed. The findings say which one.
var errNotHealthy = errors.New("at least one check has failed")

func newDoctor() *cobra.Command {
	f := configFlags{forTraffic: true}
	var output string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Find what is wrong with the configuration, this machine, the upstream and the archive",
		Long: "doctor tries what wayside will need: it listens, connects to the upstream, writes to the data directory, and writes, reads,\n" +
			"lists and deletes an object in the archive. It removes what it has created. Run it as the user of wayside run, with the same\n" +
			"flags and environment, before you start wayside or while it is running. While wayside is running, keys that you do not set\n" +
			"here have the values of that run. The exit code is 1 if a check has failed; warnings do not count.",
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
	if o.Running, err = findAdmin(cfg, ""); err == nil {
		o.Config, err = f.ofRunning(cmd, cfg)
		if err != nil {
			return doctor.Refused(err)
		}
	}
	return doctor.Examine(ctx, o)
}

// ofRunning returns the configuration to examine while a wayside is running: if no file is named, keys that are not set here get their
// values from the running wayside.
func (f *configFlags) ofRunning(cmd *cobra.Command, cfg *configs.Config) (*configs.Config, error) {
	last, err := datadir.ReadConfig(cfg.Data.Dir)
	if err != nil || last.Format == 0 || f.file != "" || os.Getenv("WAYSIDE_CONFIG") != "" {
		return cfg, nil //nolint:nilerr // the checks of the data directory report what cannot be read there
	}
	leaveOutMissingFiles(cmd, last.Keys)
	o := f.options(cmd)
	o.LastRun, o.LastRunFile = last.Keys, filepath.Join(cfg.Data.Dir, datadir.ConfigFile)
	if cfg, err = configs.Load(o); err == nil {
		cfg.DeriveLimits(process.Resources())
	}
	return cfg, err
}
