package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
)

// finder finds a running wayside: by --admin URL, or through run.json in the data directory.
type finder struct {
	config configFlags
	admin  string
}

func (f *finder) bind(cmd *cobra.Command, more ...string) {
	f.config.bind(cmd, append(more, "data")...)
	cmd.Flags().StringVar(&f.admin, "admin", "", "admin URL of the running wayside (default: found through the data directory)")
}

// client is a connection to the admin endpoint of a running wayside.
type client struct {
	base  string
	token string
	http  *http.Client
}

// find returns a client for the running wayside; the error wraps datadir.ErrNotRunning if there is none.
func (f *finder) find(cmd *cobra.Command) (*client, error) {
	cfg, err := f.config.load(cmd)
	if err != nil {
		return nil, err
	}
	return findAdmin(cfg, f.admin)
}

func findAdmin(cfg *configs.Config, admin string) (*client, error) {
	c := &client{base: strings.TrimSuffix(admin, "/"), token: string(cfg.Admin.Token), http: &http.Client{}}
	if c.base != "" {
		if !strings.Contains(c.base, "://") {
			c.base = "http://" + c.base
		}
		return c, nil
	}
	info, err := datadir.ReadInfo(cfg.Data.Dir)
	switch _, missing := os.Stat(cfg.Data.Dir); {
	case errors.Is(missing, os.ErrNotExist):
		return nil, fmt.Errorf("%w: %s does not exist; name it with --data DIR or --admin URL", datadir.ErrNotRunning, cfg.Data.Dir)
	case errors.Is(err, datadir.ErrNotRunning):
		return nil, fmt.Errorf("%w; name it with --data DIR or --admin URL", err)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w; name the running wayside with --admin URL, or run this as the user that it runs as", err)
	case err != nil:
		return nil, err
	}
	c.base = info.Admin
	return c, nil
}

// do sends a request and returns the body of a 2xx answer.
func (c *client) do(ctx context.Context, method, path string) ([]byte, error) {
	return c.send(ctx, method, path, http.NoBody)
}

// send is do with a body.
func (c *client) send(ctx context.Context, method, path string, with io.Reader) ([]byte, error) {
	resp, err := c.request(ctx, method, path, with)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of the wayside at %s: %w", c.base, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, c.refusal(resp, body)
	}
	return body, nil
}

// request sends a request; the caller closes the answer's body.
func (c *client) request(ctx context.Context, method, path string, with io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, with)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	return resp, nil
}

// unreachable says in words why nothing answered.
func (c *client) unreachable(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // without the method and the URL
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the wayside at %s did not answer in time: %w", c.base, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing answers at %s: is wayside running there? (%w)", c.base, err)
	}
	return fmt.Errorf("the wayside at %s cannot be reached: %w", c.base, err)
}

// refusal says in words what an answer other than 2xx means: what the server gives as the reason, and what to do about it.
func (c *client) refusal(resp *http.Response, body []byte) error {
	var said struct{ Error string }
	reason := "it answered " + resp.Status
	if json.Unmarshal(body, &said) == nil && said.Error != "" {
		reason = said.Error
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized && c.token == "":
		reason = "it asks for a token: set admin.token, WAYSIDE_ADMIN_TOKEN or WAYSIDE_ADMIN_TOKEN_FILE as for wayside run"
	case resp.StatusCode == http.StatusUnauthorized:
		reason = "it does not accept the token that is configured here as admin.token"
	case said.Error == "" && resp.Header.Get("Content-Type") != "" && !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json"):
		reason += ", which no wayside does: is this its admin address?"
	}
	err := fmt.Errorf("the wayside at %s refused: %s", c.base, reason)
	if resp.StatusCode == http.StatusInternalServerError && said.Error != "" { // it tried
		err = fmt.Errorf("the wayside at %s failed: %s", c.base, reason)
		if strings.HasPrefix(resp.Request.URL.Path, pathJob) {
			err = errors.New("the job failed: " + reason)
		}
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		return &awayError{err}
	}
	return err
}

// awayError is a refusal that passes: the books process is starting, busy, or about to be started again.
type awayError struct{ error }

func (e *awayError) Unwrap() error { return e.error }

// patient is a client that waits for the books process where that is away: right after the start of wayside, for instance.
type patient struct {
	*client
	notice io.Writer // where it says what it waits for
}

// How long a patient client waits, and between two questions.
const (
	patience    = 15 * time.Second
	patientStep = 200 * time.Millisecond
)

// Ask asks until there is an answer or patience is at its end.
func (p patient) Ask(ctx context.Context, path string) ([]byte, error) {
	waited := time.NewTimer(patience)
	defer waited.Stop()
	for said := false; ; said = true {
		body, err := p.client.Ask(ctx, path)
		var away *awayError
		if !errors.As(err, &away) {
			return body, err
		}
		if !said {
			fmt.Fprintf(p.notice, "wayside: %v; waiting for it\n", err)
		}
		select {
		case <-time.After(patientStep):
		case <-waited.C:
			return nil, err
		case <-ctx.Done():
			return nil, err
		}
	}
}

func newHealth() *cobra.Command {
	var f finder
	cmd := &cobra.Command{
		Use: "health", Short: "Exit 0 if the running wayside is ready; for container health checks",
		Example: "wayside health --data /data",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
			defer cancel()
			c, err := f.find(cmd)
			// A data directory that cannot be written has no run.json; the configured addresses still answer.
			why := err
			if errors.Is(err, datadir.ErrNotRunning) || errors.Is(err, os.ErrPermission) {
				c, err = f.configured(cmd)
			}
			if err != nil {
				return err
			}
			if _, err = c.do(ctx, http.MethodGet, "/readyz"); err != nil {
				err = errors.Join(err, why)
			}
			return err
		},
	}
	f.bind(cmd)
	return cmd
}

// configured is a client for the address that the configuration names.
func (f *finder) configured(cmd *cobra.Command) (*client, error) {
	cfg, err := f.config.load(cmd)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(cfg.Admin.Listen)
	if err != nil || port == "0" {
		return nil, fmt.Errorf("%w: %s; name it with --data DIR or --admin URL", datadir.ErrNotRunning, cfg.Data.Dir)
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return findAdmin(cfg, net.JoinHostPort(host, port))
}
