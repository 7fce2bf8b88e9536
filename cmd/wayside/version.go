package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside"
	"github.com/wayside-proxy/wayside/internal/cli"
)

// version is set by release builds: -ldflags "-X main.version=1.2.3".
var version = "dev"

// commit is set if the toolchain has no access to the repository, for example when the image is built: -ldflags "-X main.commit=…".
var commit string

// revision returns the commit from which the binary was built, if the build or the toolchain recorded it.
func revision() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "unknown"
}

func newVersion() *cobra.Command {
	var output string
	var licenses bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if licenses {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n%s", wayside.Notice, wayside.License, wayside.ThirdParty)
				return err
			}
			if output == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{
					"version": version, "commit": revision(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
				})
			}
			return printVersion(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&licenses, "licenses", false, "print the licenses and notices of wayside and of everything in the binary")
	cli.BindOutput(cmd, &output)
	return cmd
}

func printVersion(out io.Writer) error {
	_, err := fmt.Fprintf(out, "wayside %s (commit %s, %s, %s/%s)\n", version, revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
