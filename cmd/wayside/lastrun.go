package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/admin/client"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/terminal"
)

// explicitTarget reports whether the command line specifies the archive.
func (f *configFlags) explicitTarget(cmd *cobra.Command) bool {
	set := cmd.Flags().Changed
	return set("archive") || set("service") || set("instance") || f.file != ""
}

// loadLastRun is like load, but for a command that itself works on a data directory. Keys that are not set get their values from the last
// run on the directory. The archive is always the one of the last run, unless a flag or --config names a different one.
func (f *configFlags) loadLastRun(cmd *cobra.Command) (*configs.Config, error) {
	now, err := f.load(cmd)
	if err != nil {
		return nil, err
	}
	dir := now.Data.Dir
	last, err := datadir.ReadConfig(dir)
	if err != nil && f.explicitTarget(cmd) || err == nil && last.Format == 0 {
		return now, nil
	}
	if err != nil {
		return nil, err
	}
	leaveOutMissingFiles(cmd, last.Keys)
	o := f.options(cmd)
	o.LastRun, o.LastRunFile = last.Keys, dir+"/"+datadir.ConfigFile
	cfg, err := configs.Load(o)
	if err != nil {
		return nil, err
	}
	before, err := configs.Load(configs.LoadOptions{Flags: map[string]string{"data.dir": dir}, LastRun: last.Keys, LastRunFile: o.LastRunFile})
	if err != nil {
		return nil, err
	}
	if was, is := before.ArchiveURL(), cfg.ArchiveURL(); was != is && !f.explicitTarget(cmd) {
		return nil, &cli.UsageError{
			Err: fmt.Errorf("%s was last run with the archive %s, but %s: name the right one with --archive",
				dir, terminal.Safe(was), saysOtherwise(cfg, is)),
			Example: cmd.CommandPath() + " --data " + dir + " --archive '" + was + "'",
		}
	}
	return cfg, nil
}

// leaveOutMissingFiles removes keys whose file does not exist or cannot be read, for example after a data directory has been copied to
// another machine. Most commands do not need these files; in those that do, opening the archive reports which file is missing.
func leaveOutMissingFiles(cmd *cobra.Command, keys map[string]string) {
	for _, path := range slices.Sorted(maps.Keys(keys)) {
		if !strings.HasSuffix(path, "_file") {
			continue
		}
		file, err := os.Open(keys[path])
		if err == nil {
			_ = file.Close()
			continue
		}
		delete(keys, path)
		if !cmd.Flags().Changed("archive") {
			fmt.Fprintf(cmd.ErrOrStderr(), "continuing without %s of the last run: %s\n", path, terminal.Safe(err.Error()))
		}
	}
	const access, secret = "archive.access_key_file", "archive.secret_key_file" // neither is useful without the other
	if keys[access] == "" || keys[secret] == "" {
		delete(keys, access)
		delete(keys, secret)
	}
}

// saysOtherwise names the variables or the file in which a different archive is set.
func saysOtherwise(cfg *configs.Config, is string) string {
	var names []string
	for _, path := range []string{"archive.url", "archive.endpoint", "archive.region", "archive.path_style", "service", "instance"} {
		if name, ok := cfg.FromEnvironment(path); ok {
			names = append(names, name)
		}
	}
	by := "the file that WAYSIDE_CONFIG names"
	if len(names) > 0 {
		by = strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s sets it to %s", by, terminal.Safe(is))
}

// loadFrom is like load, but for a command that uses a running wayside. The archive is the one of the running wayside, unless a flag
// names a different one.
func (f *configFlags) loadFrom(ctx context.Context, cmd *cobra.Command, c *client.Client) (*configs.Config, error) {
	var running datadir.Config
	if err := c.JSON(ctx, http.MethodGet, admin.PathConfig, nil, &running); err != nil {
		return nil, err
	}
	leaveOutMissingFiles(cmd, running.Keys)
	o := f.options(cmd)
	named := cmd.Flags().Changed("archive")
	for path, value := range running.Keys {
		if _, given := o.Flags[path]; given || !(strings.HasPrefix(path, "archive.") && !named || path == "service" || path == "instance") {
			continue
		}
		o.Flags[path] = value
	}
	return configs.Load(o)
}
