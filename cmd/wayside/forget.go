package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/process/books"
)

// pathForget is where the traffic process takes the order.
const pathForget = "/-/forget"

// forgetFlags are the flags of wayside forget.
type forgetFlags struct {
	finder
	host, method, output string
	archive, yes, count  bool
}

func newForget() *cobra.Command {
	var f forgetFlags
	cmd := &cobra.Command{
		Use: "forget PATH", Short: "Remove a path that holds a secret from the books",
		Long: "forget removes a path (/reset/4f9c…), every path of a template (/reset/{id}), or all that fit a pattern, in which *\n" +
			"stands for any run of characters (*4f9c*), from statistics, local events, snapshots and spool, and rewrites their\n" +
			"files. Counts stay: they move to (other), so that the totals still add up. With - the path is read from the standard\n" +
			"input, so that it does not end up in the history of a shell. Objects of the archive that hold it are listed; with\n" +
			"--archive those whose events are still held here are written again without it. What is requested later is recorded\n" +
			"like anything else. It works in the running wayside, or on a data directory that nobody uses.",
		Example: "wayside forget '/reset/4f9c1e' --archive",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usagef(cmd, "%s takes one path, got %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := interruptible(cmd)
			defer cancel()
			return f.run(ctx, cmd, args[0])
		},
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&f.host, "host", "", "only rows of this host")
	cmd.Flags().StringVar(&f.method, "method", "", "only rows of this method")
	cmd.Flags().BoolVar(&f.archive, "archive", false, "also write those objects of the archive again whose events are still held here")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&f.count, "dry-run", false, "only count what would be removed")
	cli.BindOutput(cmd, &f.output)
	return cmd
}

// run counts what there is, asks, and forgets it.
func (f *forgetFlags) run(ctx context.Context, cmd *cobra.Command, path string) (err error) {
	in := bufio.NewReader(cmd.InOrStdin())
	if path == "-" {
		line, err := in.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the path: %w", err)
		}
		path = strings.TrimRight(line, "\r\n")
	}
	o := admin.ForgetOrder{Path: path, Host: f.host, Method: f.method, Archive: f.archive, Count: true}
	if err := books.Selection(&o).Check(); err != nil {
		return &cli.UsageError{Err: err, Example: cli.Example(cmd)}
	}
	do, done, err := f.books(ctx, cmd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if !f.yes && !f.count {
		found, err := do(ctx, o)
		if err != nil {
			return err
		}
		if sure, err := f.sure(cmd, in, found); !sure || err != nil {
			return err
		}
	}
	o.Count = f.count
	found, err := do(ctx, o)
	if err != nil {
		return err
	}
	if f.output == "json" {
		return json.NewEncoder(terminal.JSON(cmd.OutOrStdout())).Encode(found)
	}
	return report.Forgotten(cmd.OutOrStdout(), found, f.count)
}

// sure asks whoever sits at the terminal.
func (f *forgetFlags) sure(cmd *cobra.Command, in *bufio.Reader, found *admin.ForgetAnswer) (bool, error) {
	if !terminal.Is(cmd.ErrOrStderr()) {
		return false, &cli.UsageError{
			Err: errors.New("forget asks before it removes anything, and there is no terminal: add --yes"), Example: cli.Example(cmd) + " --yes",
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d rows with %d responses and %d local events fit. They cannot be brought back. Forget them? Type yes: ",
		found.Names, found.Responses, found.Events)
	line, err := in.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if strings.TrimSpace(line) != "yes" {
		return false, errors.New("nothing was forgotten")
	}
	return true, nil
}

// books returns a function that forgets in the running wayside or, if none uses the data directory, in this process, and
// one to be called at the end.
func (f *forgetFlags) books(ctx context.Context, cmd *cobra.Command) (do books.ForgetFunc, done func() error, err error) {
	c, err := f.find(cmd)
	if errors.Is(err, datadir.ErrNotRunning) {
		cfg, err := f.config.loadKept(cmd)
		if err != nil {
			return nil, nil, err
		}
		return books.OpenForget(ctx, cfg, logsink.Logger(cmd.ErrOrStderr(), cfg.Log.Level, cfg.Log.Format, "forget"))
	}
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, o admin.ForgetOrder) (*admin.ForgetAnswer, error) {
		order, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		body, err := c.Send(ctx, http.MethodPost, pathForget, bytes.NewReader(order))
		if err != nil {
			return nil, err
		}
		var answer admin.ForgetAnswer
		return &answer, json.Unmarshal(body, &answer)
	}, func() error { return nil }, nil
}
