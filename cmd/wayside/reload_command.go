package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/admin/client"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/process/traffic"
)

// refusedConfig is the error for a configuration that the running wayside has rejected. Like the error of configs.Load, it is a list: the
// mistakes with their positions, and then a line that says which wayside has rejected the configuration.
type refusedConfig []error

func (r refusedConfig) Error() string   { return errors.Join(r...).Error() }
func (r refusedConfig) Unwrap() []error { return r }

func refused(by, mistakes string) (list refusedConfig) {
	for line := range strings.Lines(mistakes) {
		list = append(list, errors.New(strings.TrimSuffix(line, "\n")))
	}
	return append(list, fmt.Errorf("the wayside at %s refused this configuration and keeps the current one", by))
}

func newReload() *cobra.Command {
	var f finder
	var output string
	cmd := &cobra.Command{
		Use: "reload", Short: "Reload the configuration of the running wayside",
		Long: "reload makes the running wayside read its configuration again. It lists the keys that changed: those in effect, those for which the\n" +
			"books process restarts, and those that need a restart of wayside run. A wrong configuration is refused as a whole, with\n" +
			"the place of each error. Then wayside keeps the current one, and reload exits with 78.",
		Example: "wayside reload --data ./wayside-data", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.find(cmd)
			if err != nil {
				return err
			}
			done, err := reload(cmd, c)
			if err != nil {
				return err
			}
			return printResult(cmd, output, done, func(w io.Writer) error { return report.Reloaded(w, &done) })
		},
	}
	f.bind(cmd)
	cli.BindOutput(cmd, &output)
	return cmd
}

func reload(cmd *cobra.Command, c *client.Client) (done traffic.Reloaded, err error) {
	resp, err := c.Request(cmd.Context(), http.MethodPost, "/-/reload", http.NoBody)
	if err != nil {
		return done, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return done, fmt.Errorf("read the response of the wayside at %s: %w", c.Base, err)
	}
	var said struct{ Error string }
	switch {
	case resp.StatusCode == http.StatusUnprocessableEntity && json.Unmarshal(body, &said) == nil && said.Error != "":
		return done, refused(c.Base, said.Error)
	case resp.StatusCode != http.StatusOK:
		return done, c.Refusal(resp, body)
	}
	return done, json.Unmarshal(body, &done)
}
