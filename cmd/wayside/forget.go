package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/process/books"
)

// pathForget is the admin listener's path for forgetting paths.
const pathForget = "/-/forget"

// forgetFlags are the flags of `wayside forget`.
type forgetFlags struct {
	finder
	host, method, output string
	archive, yes, count  bool
}

func newForget() *cobra.Command {
	var f forgetFlags
	cmd := &cobra.Command{
		Use: "forget PATH", Short: "Remove a path that contains a secret from the books",
		Long: "forget removes a path (/reset/4f9c…), every path of a template (/reset/{id}), or every path that matches a pattern, in which\n" +
			"* matches any characters (*4f9c*). It removes them from statistics, local events, snapshots and spool, and rewrites the\n" +
			"files that contained them. The counts move to (other), so the totals still add up. With - as PATH, it reads the path from\n" +
			"standard input, which keeps it out of the shell's history. It lists the archive objects that contain the path; with\n" +
			"--archive, it rewrites those whose events are still in the store. (In other commands, --archive names an archive by its URL.\n" +
			"Here it has no value: forget uses the archive to which the books belong.) Later requests for the path are recorded again. It\n" +
			"works in the running wayside, or on a data directory that no wayside uses.",
		Example: "wayside forget '/reset/4f9c1e' --archive",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usagef(cmd, "%s takes one path, got %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, args []string) error { return f.run(ctx, cmd, args[0]) }),
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&f.host, "host", "", "only rows of this host")
	cmd.Flags().StringVar(&f.method, "method", "", "only rows of this method")
	cmd.Flags().BoolVar(&f.archive, "archive", false, "also rewrite archive objects whose events are still in the store (without a URL)")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask for confirmation")
	cmd.Flags().BoolVar(&f.count, "dry-run", false, "only count what would be removed")
	cli.BindOutput(cmd, &f.output)
	return cmd
}

// run counts the matching rows and events, asks for confirmation, and removes them.
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
	return printResult(cmd, f.output, found, func(w io.Writer) error { return report.Forgotten(w, found, f.count) })
}

// sure asks for confirmation at the terminal.
func (f *forgetFlags) sure(cmd *cobra.Command, in *bufio.Reader, found *admin.ForgetAnswer) (bool, error) {
	if !terminal.Is(cmd.ErrOrStderr()) {
		return false, &cli.UsageError{
			Err: errors.New("forget asks for confirmation, but there is no terminal: add --yes"), Example: cli.Example(cmd) + " --yes",
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d rows with %d responses and %d local events match. They cannot be restored. Forget them? Type yes: ",
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

// books returns a function that forgets paths, either through the running wayside or, if no wayside is using the data directory, in
// this process. The caller must call done at the end.
func (f *forgetFlags) books(ctx context.Context, cmd *cobra.Command) (do books.ForgetFunc, done func() error, err error) {
	c, cfg, err := f.locate(cmd)
	if err != nil {
		return nil, nil, err
	}
	if c == nil {
		return books.OpenForget(ctx, cfg, logger(cmd, cfg, "forget"))
	}
	return func(ctx context.Context, o admin.ForgetOrder) (*admin.ForgetAnswer, error) {
		var answer admin.ForgetAnswer
		return &answer, c.JSON(ctx, http.MethodPost, pathForget, o, &answer)
	}, func() error { return nil }, nil
}
