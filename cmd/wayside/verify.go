package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/internal/verify"
	"github.com/wayside-proxy/wayside/process/books"
)

const pathVerify = "/api/v1/verify"

// errNotAsPromised is what wayside verify ends with when it has found something; the report says what.
var errNotAsPromised = errors.New("not everything is as promised")

// errNotChecked is what it ends with when nothing is wrong with what it could check, which was not everything.
var errNotChecked = errors.New("not everything could be checked")

func newVerify() *cobra.Command {
	var f finder
	var output string
	var local bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Check every promise that can be checked on a data directory",
		Long: "verify reads journals, queues, event blocks, watermarks, hourly sums and the catalogue, compares them with each other,\n" +
			"and reads every archived object back. A running wayside is asked to check itself; otherwise the files are read here. It\n" +
			"repairs nothing and deletes nothing, but a store that it finds damaged is set aside whole, and a new one filled again from\n" +
			"the archive: at once by a running wayside, else at the next start. Exit code 1 if anything is not as promised, or could not be\n" +
			"checked, which the last line tells apart.",
		Example: "wayside verify --data ./wayside-data --output json", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd) // what it has copied must go
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends it at once
			found, err := runVerify(ctx, cmd, &f, local)
			if err != nil {
				return err
			}
			if output == "json" {
				err = json.NewEncoder(terminal.JSON(cmd.OutOrStdout())).Encode(found)
			} else {
				report.Checks(cmd.OutOrStdout(), found)
			}
			if err == nil && !found.OK {
				err = errNotChecked
				if found.Found() {
					err = errNotAsPromised
				}
			}
			return err
		},
	}
	f.bind(cmd, "archive")
	cmd.Flags().BoolVar(&local, "local", false, "leave the archive out")
	cli.BindOutput(cmd, &output)
	return cmd
}

func runVerify(ctx context.Context, cmd *cobra.Command, f *finder, local bool) (*verify.Report, error) {
	c, err := f.find(cmd)
	if errors.Is(err, datadir.ErrNotRunning) {
		cfg, err := f.config.loadKept(cmd)
		if err != nil {
			return nil, err
		}
		return books.Verify(ctx, cfg, logsink.Logger(cmd.ErrOrStderr(), cfg.Log.Level, cfg.Log.Format, "verify"), local)
	}
	if err == nil {
		err = refuseArchive(cmd)
	}
	if err != nil {
		return nil, err
	}
	body, err := c.Do(ctx, http.MethodPost, fmt.Sprintf("%s?local=%t", pathVerify, local))
	if err != nil {
		return nil, err
	}
	var found verify.Report
	return &found, json.Unmarshal(body, &found)
}
