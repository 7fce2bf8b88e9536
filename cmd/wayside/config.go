package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/process"
	"github.com/wayside-proxy/wayside/process/books"
)

// configFlags are the flags that set configuration keys.
type configFlags struct {
	file        string
	values      map[string]func() string // configuration key → value of the flag
	archiveFlag string                   // another flag that sets archive.url, for error messages; empty if there is none
	noCollector bool
	forTraffic  bool // whether to also check what only the traffic process needs (see TrafficFiles and LookupHost in configs.LoadOptions)
}

// flagKeys maps flags to configuration keys, in the order in which the help shows them.
var flagKeys = []struct{ flag, key, help string }{
	{"listen", "listen", "address for traffic, host:port (default 127.0.0.1:8090)"},
	{"upstream", "upstream", "`URL` of the application: http://host:port, https://host:port or unix:///path; repeat it for several servers"},
	{"tls-cert", "tls.cert_file", "file with a certificate and its chain, in PEM format; clients then connect with TLS"},
	{"tls-key", "tls.key_file", "file with the key of --tls-cert"},
	{"admin", "admin.listen", "address for the dashboard, API and metrics (default 127.0.0.1:8091)"},
	{"data", "data.dir", "data directory (default ./wayside-data)"},
	{"archive", "archive.url", "where events go: file:///dir or s3://bucket/prefix?endpoint=… (default <data>/archive)"},
	{"service", "service", "name of the proxied service in the archive"},
	{"instance", "instance", "name of this instance in the archive (default the host name)"},
	{"log-level", "log.level", "debug, info, warn or error"},
	{"log-format", "log.format", "auto, text or json"},
}

// bind adds the named configuration flags to cmd. If names is empty, it adds all of them.
func (f *configFlags) bind(cmd *cobra.Command, names ...string) {
	f.values = map[string]func() string{}
	cmd.Flags().StringVar(&f.file, "config", "", "configuration file (YAML); see wayside config example")
	for _, fk := range flagKeys {
		if len(names) == 0 || slices.Contains(names, fk.flag) {
			f.values[fk.key] = flagValue(cmd, fk.flag, fk.help)
		}
	}
}

// flagValue adds a flag and returns a function that returns the flag's value. --upstream can be repeated; the value is then a list.
func flagValue(cmd *cobra.Command, name, help string) func() string {
	if name == "upstream" {
		list := cmd.Flags().StringArray(name, nil, help)
		return func() string { return strings.Join(*list, ",") }
	}
	value := cmd.Flags().String(name, "", help)
	return func() string { return *value }
}

// options returns the sources of the configuration. Flags take precedence over the environment, which takes precedence
// over the file.
func (f *configFlags) options(cmd *cobra.Command) configs.LoadOptions {
	flags := map[string]string{}
	for _, fk := range flagKeys {
		// A command may have a flag with the same name but a different meaning, such as --admin of the commands that find a running
		// wayside.
		if value := f.values[fk.key]; value != nil && cmd.Flags().Changed(fk.flag) {
			flags[fk.key] = value()
		}
	}
	if f.noCollector {
		flags["collector.enabled"] = strconv.FormatBool(false)
	}
	o := configs.LoadOptions{File: f.file, Environ: os.Environ(), Flags: flags}
	if f.archiveFlag != "" {
		o.FlagNames = map[string]string{"archive.url": f.archiveFlag}
	}
	if f.forTraffic {
		o.LookupHost, o.TrafficFiles = lookUpHost, true
	}
	return o
}

// load reads the configuration.
func (f *configFlags) load(cmd *cobra.Command) (*configs.Config, error) {
	cfg, err := configs.Load(f.options(cmd))
	if err != nil {
		return nil, err
	}
	cfg.DeriveLimits(process.Resources())
	return cfg, books.Check(cfg)
}

// lookUpTimeout limits how long the check of the upstream's name waits for a DNS server.
const lookUpTimeout = time.Second

func lookUpHost(host string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookUpTimeout)
	defer cancel()
	return net.DefaultResolver.LookupHost(ctx, host)
}

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check or print a configuration, or print an example", Args: cli.OneOf("check", "print", "example")}
	cmd.AddCommand(newConfigCheck(), newConfigPrint(), newConfigExample())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

func newConfigCheck() *cobra.Command {
	f := configFlags{forTraffic: true}
	cmd := &cobra.Command{
		Use: "check [FILE]", Short: "Check a configuration; exit 78 with file, line and column if it is wrong",
		Example: "wayside config check /etc/wayside.yaml",
		Args:    fileArg(&f), ValidArgsFunction: cli.YAMLFiles,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load(cmd)
			if err != nil {
				return err
			}
			for _, w := range cfg.Warnings() {
				fmt.Fprintln(cmd.OutOrStdout(), "warning:", terminal.Safe(w.Error()))
			}
			if !cfg.HasUpstream() {
				fmt.Fprintln(cmd.OutOrStdout(), "ok; upstream is not set here: wayside run will need --upstream or WAYSIDE_UPSTREAM")
				return nil
			}
			fmt.Fprintln(cmd.OutOrStdout(), "ok")
			return nil
		},
	}
	f.bind(cmd)
	return cmd
}

// fileArg also accepts the configuration file as an argument, because many people try that first.
func fileArg(f *configFlags) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return nil
		case len(args) == 1 && f.file == "":
			f.file = args[0]
			return nil
		}
		return cli.Usagef(cmd, "give one configuration file")
	}
}

func newConfigPrint() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use: "print [FILE]", Short: "Print the configuration in effect, secrets redacted",
		Example: "wayside config print --config /etc/wayside.yaml",
		Args:    fileArg(&f), ValidArgsFunction: cli.YAMLFiles,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load(cmd)
			if err != nil {
				return err
			}
			return configs.Print(cmd.OutOrStdout(), cfg)
		},
	}
	f.bind(cmd)
	return cmd
}

func newConfigExample() *cobra.Command {
	return &cobra.Command{
		Use: "example [KIND]", Short: "Print a commented example: " + cli.Or(configs.Examples()),
		Example: "wayside config example sidecar", ValidArgs: configs.Examples(),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return cli.OneOf(configs.Examples()...)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			kind := "sidecar"
			if len(args) > 0 {
				kind = args[0]
			}
			_, err := cmd.OutOrStdout().Write(configs.Example(kind))
			return err
		},
	}
}
