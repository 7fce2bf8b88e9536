package main

import (
	"context"
	"encoding/json"
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

// explicitTarget reports whether the command line says which archive is meant.
func (f *configFlags) explicitTarget(cmd *cobra.Command) bool {
	set := cmd.Flags().Changed
	return set("archive") || set("service") || set("instance") || f.file != ""
}

// loadKept is load for a command that works on a data directory by itself: what is not said now is as it was when the directory was
// last run. Without a flag or --config that says so, it never takes another archive than that.
func (f *configFlags) loadKept(cmd *cobra.Command) (*configs.Config, error) {
	now, err := f.load(cmd)
	if err != nil {
		return nil, err
	}
	dir := now.Data.Dir
	kept, err := datadir.ReadConfig(dir)
	if err != nil && f.explicitTarget(cmd) || err == nil && kept.Format == 0 {
		return now, nil
	}
	if err != nil {
		return nil, err
	}
	leaveOutMissingFiles(cmd, kept.Keys)
	o := f.options(cmd)
	o.Kept, o.KeptName = kept.Keys, dir+"/"+datadir.ConfigFile
	cfg, err := configs.Load(o)
	if err != nil {
		return nil, err
	}
	before, err := configs.Load(configs.LoadOptions{Flags: map[string]string{"data.dir": dir}, Kept: kept.Keys, KeptName: o.KeptName})
	if err != nil {
		return nil, err
	}
	if was, is := before.ArchiveURL(), cfg.ArchiveURL(); was != is && !f.explicitTarget(cmd) {
		return nil, &cli.UsageError{
			Err: fmt.Errorf("%s was last run with the archive %s, and %s: say with --archive which of them is meant",
				dir, terminal.Safe(was), saysOtherwise(cfg, is)),
			Example: cmd.CommandPath() + " --data " + dir + " --archive '" + was + "'",
		}
	}
	return cfg, nil
}

// leaveOutMissingFiles removes the keys whose file is not on this machine, or is not for this user to read, as after a data directory was
// copied: most commands need none of them, and the archive says what it lacks.
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
			fmt.Fprintf(cmd.ErrOrStderr(), "going on without %s of the last run: %s\n", path, terminal.Safe(err.Error()))
		}
	}
	const access, secret = "archive.access_key_file", "archive.secret_key_file" // one is nothing without the other
	if keys[access] == "" || keys[secret] == "" {
		delete(keys, access)
		delete(keys, secret)
	}
}

// saysOtherwise names what makes the archive another one.
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
	return fmt.Sprintf("%s makes it %s", by, terminal.Safe(is))
}

// loadFrom is load for a command that asks a running wayside: the archive is that one's, unless a flag names another.
func (f *configFlags) loadFrom(ctx context.Context, cmd *cobra.Command, c *client.Client) (*configs.Config, error) {
	body, err := c.Do(ctx, http.MethodGet, admin.PathConfig)
	if err != nil {
		return nil, err
	}
	var said datadir.Config
	if err := json.Unmarshal(body, &said); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", admin.PathConfig, err)
	}
	leaveOutMissingFiles(cmd, said.Keys)
	o := f.options(cmd)
	named := cmd.Flags().Changed("archive")
	for path, value := range said.Keys {
		if _, given := o.Flags[path]; given || !(strings.HasPrefix(path, "archive.") && !named || path == "service" || path == "instance") {
			continue
		}
		o.Flags[path] = value
	}
	return configs.Load(o)
}
