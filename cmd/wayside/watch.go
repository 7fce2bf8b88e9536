package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/admin/client"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/query"
	"github.com/wayside-proxy/wayside/internal/terminal"
)

func newTop() *cobra.Command {
	var f finder
	var window, output string
	var every time.Duration
	cmd := &cobra.Command{
		Use: "top", Short: "Show the hot paths, live",
		Long: "top shows the paths of a running wayside with their requests, errors, latency and current rates, and the details of\n" +
			"one path. If the output is not a terminal, or with --output json, it prints the table once.",
		Example: "wayside top --data ./wayside-data",
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.find(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := signal.NotifyContext(cmd.Context(), syscall.SIGTERM)
			defer cancel()
			once := client.Patient{Client: c, Notice: cmd.ErrOrStderr()}
			if output == "json" {
				body, err := once.Ask(ctx, "/api/v1/paths?from="+terminal.WindowFrom(window))
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(body)
				return err
			}
			o := terminal.TopOptions{Ask: c, Address: c.Base, Every: every, Window: window}
			if !terminal.Is(cmd.OutOrStdout()) {
				o.Ask = once
				return terminal.TopOnce(ctx, o, cmd.OutOrStdout())
			}
			return terminal.Top(ctx, o)
		},
	}
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if slices.Contains(terminal.WindowNames(), window) {
			return nil
		}
		return cli.Usagef(cmd, "--window %q: must be one of %s", window, strings.Join(terminal.WindowNames(), ", "))
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&window, "window", "24h", "range of time: "+strings.Join(terminal.WindowNames(), ", "))
	cli.DurationVar(cmd, &every, "every", 2*time.Second, "time between updates")
	cli.BindOutput(cmd, &output)
	return cmd
}

// tailFlags are the filters for events, like the parameters of GET /api/v1/tail.
type tailFlags struct {
	finder                             finder
	path, method, host, status, output string
	requestID, route, grpc             string
	slowerThan                         time.Duration
}

func (f *tailFlags) query() string {
	q := url.Values{}
	for key, value := range map[string]string{"path": f.path, "method": f.method, "host": f.host, "status": f.status, "request_id": f.requestID, "route": f.route, "grpc": f.grpc} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if f.slowerThan > 0 {
		q.Set("min_duration", f.slowerThan.String())
	}
	return q.Encode()
}

func newTail() *cobra.Command {
	var f tailFlags
	cmd := &cobra.Command{
		Use: "tail", Short: "Show events as they are recorded, filtered",
		Long: "tail shows responses as they are recorded, about a second after they were sent: time, status, duration, bytes,\n" +
			"method, host and path. It runs until it is interrupted, and continues after a restart of wayside.",
		Example: "wayside tail --status 5xx,404 --path '/users/*' --slower-than 250ms",
		Args:    cli.NoArgs,
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			if _, err := query.ParseStatuses(f.status); err != nil {
				return cli.Usagef(cmd, "--status: %w", err)
			}
			if _, err := query.ParseGRPC(f.grpc); err != nil {
				return cli.Usagef(cmd, "--grpc: %w", err)
			}
			if err := checkPath(cmd, f.path); err != nil {
				return err
			}
			return f.run(ctx, cmd)
		}),
	}
	f.finder.bind(cmd)
	cmd.Flags().StringVar(&f.path, "path", "", "only this path or template; a trailing * makes it a prefix")
	cmd.Flags().StringVar(&f.method, "method", "", "only this method")
	cmd.Flags().StringVar(&f.host, "host", "", "only this host")
	cmd.Flags().StringVar(&f.status, "status", "", "only these statuses: "+query.StatusForms)
	cmd.Flags().StringVar(&f.route, "route", "", "only this route")
	cmd.Flags().StringVar(&f.grpc, "grpc", "", "only gRPC calls with these statuses: "+query.GRPCForms)
	cmd.Flags().StringVar(&f.requestID, "request-id", "", "only the event with this X-Request-ID, which is recorded for responses that wayside makes itself and, with record.request_id, for all others")
	cli.DurationVar(cmd, &f.slowerThan, "slower-than", 0, "only responses that took at least this long")
	cli.BindOutput(cmd, &f.output)
	return cmd
}

// tailRetry is the pause before a lost stream is reopened.
const tailRetry = time.Second

// run copies the stream until ctx is done. The first connection must reach a wayside, but the books process of that wayside need not be
// available yet. A stream that is lost later is reopened.
func (f *tailFlags) run(ctx context.Context, cmd *cobra.Command) error {
	o := terminal.TailOptions{
		Out: cmd.OutOrStdout(), Notice: cmd.ErrOrStderr(), JSON: f.output == "json", Color: terminal.Is(cmd.OutOrStdout()) && os.Getenv("NO_COLOR") == "", // no-color.org
	}
	if o.JSON {
		o.Out = terminal.JSON(o.Out)
	}
	for connected, reported := false, false; ; {
		err := f.stream(ctx, cmd, o, func() { connected, reported = true, false })
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the stream ended because ctx is done
		}
		var away *client.AwayError
		if !connected && !errors.As(err, &away) || errors.Is(err, syscall.EPIPE) {
			return err
		}
		if !reported { // report once per interruption
			what := "the stream was lost"
			if !connected {
				what = err.Error()
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "wayside: %s; trying again until it is back or you press Ctrl-C\n", terminal.Safe(what))
			reported = true
		}
		select {
		case <-time.After(tailRetry):
		case <-ctx.Done():
			return nil
		}
	}
}

func (f *tailFlags) stream(ctx context.Context, cmd *cobra.Command, o terminal.TailOptions, connected func()) error {
	c, err := f.finder.find(cmd) // a restarted wayside may have a different address, so find it each time
	if err != nil {
		return err
	}
	stream, err := c.Open(ctx, "/api/v1/tail?"+f.query())
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	connected()
	return terminal.Tail(stream, o)
}

// checkPath rejects an argument that is neither a path nor a template.
func checkPath(cmd *cobra.Command, path string) error {
	if err := query.CheckPath(path); err != nil {
		return cli.Usagef(cmd, "--path %q: %w", path, err)
	}
	return nil
}
