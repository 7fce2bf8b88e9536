package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/admin/client"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/process/traffic"
)

// refusedConfig is a configuration that a running wayside has refused; the message has the place.
type refusedConfig struct{ error }

func newReload() *cobra.Command {
	var f finder
	var output string
	cmd := &cobra.Command{
		Use: "reload", Short: "Have the running wayside read its configuration again",
		Long: "reload says which keys are in effect, which the books process starts again with, and which keep their value until\n" +
			"wayside run is started again. A configuration that is wrong is refused whole, with the place of each error; wayside\n" +
			"goes on with the former one, and reload exits 78.",
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
			if output == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(done)
			}
			return report.Reloaded(cmd.OutOrStdout(), &done)
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
		return done, fmt.Errorf("read the answer of the wayside at %s: %w", c.Base, err)
	}
	switch err := c.Refusal(resp, body); {
	case resp.StatusCode == http.StatusUnprocessableEntity:
		return done, &refusedConfig{err}
	case resp.StatusCode != http.StatusOK:
		return done, err
	}
	return done, json.Unmarshal(body, &done)
}
