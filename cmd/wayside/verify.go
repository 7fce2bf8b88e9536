package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/internal/verify"
	"github.com/wayside-proxy/wayside/process/books"
)

const pathVerify = "/api/v1/verify"

// errNotAsPromised is the error of `wayside verify` if it has found a problem. The report says which one.
var errNotAsPromised = errors.New("not everything is as promised")

// errNotChecked is the error of `wayside verify` if all checks that could be run have passed, but some could not be run.
var errNotChecked = errors.New("not everything could be checked")

func newVerify() *cobra.Command {
	var f finder
	var output string
	var local bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Check every promise that can be checked on a data directory",
		Long: "verify reads journals, queues, event blocks, watermarks, hourly sums and the catalogue, compares them with each other,\n" +
			"and reads every archived object back. A running wayside checks itself; otherwise this command reads the files. It repairs\n" +
			"nothing and deletes nothing. But if the store is damaged, wayside sets it aside and fills a new one from the archive: at\n" +
			"once if it is running, otherwise at the next start. The exit code is 1 if a promise is broken or could not be checked;\n" +
			"the last line says which.",
		Example: "wayside verify --data ./wayside-data --output json", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt) // an interrupted command removes its copies
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends the process immediately
			found, err := runVerify(ctx, cmd, &f, local)
			if err != nil {
				return err
			}
			err = printResult(cmd, output, found, func(w io.Writer) error {
				report.Checks(w, found)
				return nil
			})
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
	cmd.Flags().BoolVar(&local, "local", false, "do not read the archive")
	cli.BindOutput(cmd, &output)
	return cmd
}

func runVerify(ctx context.Context, cmd *cobra.Command, f *finder, local bool) (*verify.Report, error) {
	c, cfg, err := f.locate(cmd)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return books.Verify(ctx, cfg, logger(cmd, cfg, "verify"), local)
	}
	if err := refuseArchive(cmd); err != nil {
		return nil, err
	}
	var found verify.Report
	return &found, c.JSON(ctx, http.MethodPost, fmt.Sprintf("%s?local=%t", pathVerify, local), nil, &found)
}
