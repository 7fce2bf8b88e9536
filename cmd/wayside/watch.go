package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/query"
	"github.com/wayside-proxy/wayside/internal/terminal"
)

// Ask lets a client be a terminal.Asker.
func (c *client) Ask(ctx context.Context, path string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, path)
}

func newTop() *cobra.Command {
	var f finder
	var window, output string
	var every time.Duration
	cmd := &cobra.Command{
		Use: "top", Short: "Hot paths, live",
		Long: "top shows the paths of a running wayside: requests, errors and latency, what happens right now, and one path\n" +
			"closely. Where the output is no terminal, or with --output json, it prints the table once.",
		Example: "wayside top --data ./wayside-data",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.find(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := signal.NotifyContext(cmd.Context(), syscall.SIGTERM)
			defer cancel()
			once := patient{c, cmd.ErrOrStderr()}
			if output == "json" {
				body, err := once.Ask(ctx, "/api/v1/paths?from=-"+url.QueryEscape(window))
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(body)
				return err
			}
			o := terminal.TopOptions{Ask: c, Address: c.base, Every: every, Window: window}
			if !terminal.Is(cmd.OutOrStdout()) {
				o.Ask = once
				return terminal.TopOnce(ctx, o, cmd.OutOrStdout())
			}
			return terminal.Top(ctx, o)
		},
	}
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range terminal.WindowNames() {
			if name == window {
				return nil
			}
		}
		return &usageError{fmt.Errorf("--window %q: want one of %s", window, strings.Join(terminal.WindowNames(), ", ")), exampleOf(cmd)}
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&window, "window", "24h", "range of time: "+strings.Join(terminal.WindowNames(), ", "))
	durationVar(cmd, &every, "every", 2*time.Second, "time between updates")
	bindOutput(cmd, &output)
	return cmd
}

// tailFlags filter events as GET /api/v1/tail does.
type tailFlags struct {
	finder                             finder
	path, method, host, status, output string
	requestID                          string
	slowerThan                         time.Duration
}

func (f *tailFlags) query() string {
	q := url.Values{}
	set := func(key, value string) {
		if value != "" {
			q.Set(key, value)
		}
	}
	set("path", f.path)
	set("method", f.method)
	set("host", f.host)
	set("status", f.status)
	set("request_id", f.requestID)
	if f.slowerThan > 0 {
		set("min_duration", f.slowerThan.String())
	}
	return q.Encode()
}

func newTail() *cobra.Command {
	var f tailFlags
	cmd := &cobra.Command{
		Use: "tail", Short: "Events, live, filtered",
		Long: "tail shows responses as they are recorded, about a second after they were sent: time, status, duration, bytes,\n" +
			"method, host and path. It goes on until it is interrupted, also over a restart of wayside.",
		Example: "wayside tail --status 5xx,404 --path '/users/*' --slower-than 250ms",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := query.ParseStatuses(f.status); err != nil {
				return &usageError{fmt.Errorf("--status: %w", err), exampleOf(cmd)}
			}
			if err := checkPath(cmd, f.path); err != nil {
				return err
			}
			ctx, cancel := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer cancel()
			return f.run(ctx, cmd)
		},
	}
	f.finder.bind(cmd)
	cmd.Flags().StringVar(&f.path, "path", "", "only this path or template; a trailing * makes it a prefix")
	cmd.Flags().StringVar(&f.method, "method", "", "only this method")
	cmd.Flags().StringVar(&f.host, "host", "", "only this host")
	cmd.Flags().StringVar(&f.status, "status", "", "only these statuses: "+query.StatusForms)
	cmd.Flags().StringVar(&f.requestID, "request-id", "", "only the event with this X-Request-ID; answers of wayside's own have one, others with record.request_id")
	durationVar(cmd, &f.slowerThan, "slower-than", 0, "only responses that took at least this long")
	bindOutput(cmd, &f.output)
	return cmd
}

// tailRetry is the pause before a lost stream is opened again.
const tailRetry = time.Second

// run copies the stream until ctx is done. The first connection must reach a wayside, though its books process may be away
// still; a later one that is lost is opened again.
func (f *tailFlags) run(ctx context.Context, cmd *cobra.Command) error {
	o := terminal.TailOptions{
		Out: cmd.OutOrStdout(), Notice: cmd.ErrOrStderr(), JSON: f.output == "json", Color: terminal.Is(cmd.OutOrStdout()),
	}
	if o.JSON {
		o.Out = terminal.JSON(o.Out)
	}
	for connected, said := false, false; ; {
		err := f.stream(ctx, cmd, o, func() { connected, said = true, false })
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whatever broke the stream: it was to end
		}
		var away *awayError
		if !connected && !errors.As(err, &away) || errors.Is(err, syscall.EPIPE) {
			return err
		}
		if !said { // once, however long it is away
			what := "the stream was lost"
			if !connected {
				what = err.Error()
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "wayside: %s; trying again until it is back or Ctrl-C is pressed\n", terminal.Safe(what))
			said = true
		}
		select {
		case <-time.After(tailRetry):
		case <-ctx.Done():
			return nil
		}
	}
}

func (f *tailFlags) stream(ctx context.Context, cmd *cobra.Command, o terminal.TailOptions, connected func()) error {
	c, err := f.finder.find(cmd) // each time: a restarted wayside may have another address
	if err != nil {
		return err
	}
	stream, err := c.open(ctx, "/api/v1/tail?"+f.query())
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	connected()
	return terminal.Tail(stream, o)
}

// open sends a GET request and returns the body of a 2xx answer as it comes; the caller closes it.
func (c *client) open(ctx context.Context, path string) (io.ReadCloser, error) {
	resp, err := c.request(ctx, http.MethodGet, path, http.NoBody)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what the server says is part of the error, if it can be read
	return nil, c.refusal(resp, body)
}
