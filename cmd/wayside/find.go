package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin/client"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/datadir"
)

// finder finds the running wayside through --admin URL, or through run.json in the data directory.
type finder struct {
	config configFlags
	admin  string
}

func (f *finder) bind(cmd *cobra.Command, more ...string) {
	f.config.bind(cmd, append(more, "data")...)
	cmd.Flags().StringVar(&f.admin, "admin", "", "admin URL of the running wayside (default: found through the data directory)")
}

// find returns a client for the running wayside. If there is none, the error wraps datadir.ErrNotRunning.
func (f *finder) find(cmd *cobra.Command) (*client.Client, error) {
	cfg, err := f.config.load(cmd)
	if err != nil {
		return nil, err
	}
	return findAdmin(cfg, f.admin)
}

// locate says where a command must do its work: in the running wayside or, if no wayside uses the data directory, in this process, with
// the configuration of the last run there. In the latter case, c is nil.
func (f *finder) locate(cmd *cobra.Command) (c *client.Client, cfg *configs.Config, err error) {
	if c, err = f.find(cmd); errors.Is(err, datadir.ErrNotRunning) {
		cfg, err = f.config.loadLastRun(cmd)
		return nil, cfg, err
	}
	return c, nil, err
}

func findAdmin(cfg *configs.Config, admin string) (*client.Client, error) {
	return client.Find(admin, cfg.Data.Dir, string(cfg.Admin.Token))
}

func newHealth() *cobra.Command {
	var f finder
	cmd := &cobra.Command{
		Use: "health", Short: "Exit 0 if the running wayside is ready; for container health checks",
		Example: "wayside health --data /data",
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
			defer cancel()
			c, err := f.find(cmd)
			// If the data directory is not writable, there is no run.json, but the configured address may still respond.
			why := err
			if errors.Is(err, datadir.ErrNotRunning) || errors.Is(err, os.ErrPermission) {
				c, err = f.configured(cmd)
			}
			if err != nil {
				return err
			}
			if _, err = c.Ask(ctx, "/readyz"); err != nil {
				return notReady(why, err, c.Base)
			}
			return nil
		},
	}
	f.bind(cmd)
	return cmd
}

// notReady combines the reasons why no wayside was found and why the configured address does not respond. It omits the second reason
// if the address is only the default and nothing is listening there, because no one has configured that address.
func notReady(why, silent error, address string) error {
	if why != nil && errors.Is(silent, syscall.ECONNREFUSED) && address == "http://"+configs.Default().Admin.Listen {
		return why
	}
	return errors.Join(why, silent)
}

// configured returns a client for the address in the configuration.
func (f *finder) configured(cmd *cobra.Command) (*client.Client, error) {
	cfg, err := f.config.load(cmd)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(cfg.Admin.Listen)
	if err != nil || port == "0" {
		return nil, fmt.Errorf("%w: %s; name it with --data DIR or --admin URL", datadir.ErrNotRunning, cfg.Data.Dir)
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return findAdmin(cfg, net.JoinHostPort(host, port))
}
