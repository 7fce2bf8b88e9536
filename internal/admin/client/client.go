// Package client sends the requests of commands to the admin listener of a running wayside. Its errors say which wayside did not respond
// or refused a request, what the reason is, and what to do.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
)

// Client sends requests to the admin listener of a running wayside.
type Client struct {
	// Base is the URL of the listener, without a trailing slash.
	Base  string
	token string
	http  *http.Client
}

// New returns a client for the wayside at an admin URL. "http://" may be omitted.
func New(address, token string) *Client {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	return &Client{Base: strings.TrimSuffix(address, "/"), token: token, http: &http.Client{}}
}

// Find returns a client for the wayside at an admin URL or, if the URL is empty, for the wayside that uses a data directory. If no
// wayside uses the directory, the error wraps [datadir.ErrNotRunning].
func Find(address, dir, token string) (*Client, error) {
	if address != "" {
		return New(address, token), nil
	}
	info, err := datadir.ReadInfo(dir)
	switch _, missing := os.Stat(dir); {
	case errors.Is(missing, os.ErrNotExist):
		return nil, fmt.Errorf("%w: %s does not exist; name it with --data DIR or --admin URL", datadir.ErrNotRunning, dir)
	case errors.Is(err, datadir.ErrNotRunning):
		return nil, fmt.Errorf("%w; name it with --data DIR or --admin URL", err)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w; name the running wayside with --admin URL, or run this as the user that it runs as", err)
	case err != nil:
		return nil, err
	}
	return New(info.Admin, token), nil
}

// Send sends a request and returns the body of a 2xx response.
func (c *Client) Send(ctx context.Context, method, path string, with io.Reader) ([]byte, error) {
	stream, err := c.open(ctx, method, path, with)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	body, err := io.ReadAll(stream)
	if err != nil {
		return nil, fmt.Errorf("read the response of the wayside at %s: %w", c.Base, err)
	}
	return body, nil
}

// JSON sends a request, with send as its body unless send is nil, and decodes the response into the value that into
// points to.
func (c *Client) JSON(ctx context.Context, method, path string, send, into any) error {
	var with io.Reader = http.NoBody
	if send != nil {
		body, err := json.Marshal(send)
		if err != nil {
			return err
		}
		with = bytes.NewReader(body)
	}
	answer, err := c.Send(ctx, method, path, with)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

// Request sends a request. The caller must close the body of the response.
func (c *Client) Request(ctx context.Context, method, path string, with io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, with)
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

// unreachable explains why there was no response.
func (c *Client) unreachable(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // the error without the method and the URL
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the wayside at %s did not respond in time: %w", c.Base, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing is listening at %s: is wayside running there? (%w)", c.Base, err)
	}
	return fmt.Errorf("the wayside at %s cannot be reached: %w", c.Base, err)
}

// Refusal turns a response other than 2xx into an error: the server's reason, and what to do.
func (c *Client) Refusal(resp *http.Response, body []byte) error {
	var said struct{ Error string }
	reason := "it responded with " + resp.Status
	if json.Unmarshal(body, &said) == nil && said.Error != "" {
		reason = said.Error
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized && c.token == "":
		reason = "it requires a token: set admin.token, WAYSIDE_ADMIN_TOKEN or WAYSIDE_ADMIN_TOKEN_FILE as for wayside run"
	case resp.StatusCode == http.StatusUnauthorized:
		reason = "it does not accept the token that is configured here as admin.token"
	case said.Error == "" && resp.Header.Get("Content-Type") != "" && !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json"):
		reason += ", which wayside never does: is this its admin address?"
	}
	err := fmt.Errorf("the wayside at %s refused: %s", c.Base, reason)
	if resp.StatusCode == http.StatusInternalServerError && said.Error != "" { // the server accepted the request but then failed
		err = fmt.Errorf("the wayside at %s failed: %s", c.Base, reason)
		if strings.HasPrefix(resp.Request.URL.Path, admin.PathJob) {
			err = errors.New("the job failed: " + reason)
		}
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		return &AwayError{err}
	}
	return err
}

// AwayError is a temporary failure: the books process is starting, busy, or about to be restarted.
type AwayError struct{ error }

func (e *AwayError) Unwrap() error { return e.error }

// Patient is a client that waits while the books process is unavailable, for example just after wayside was started.
type Patient struct {
	*Client
	Notice io.Writer // receives a line that says what the client is waiting for
}

// How long a Patient waits in total, and between two requests.
const (
	patientWait = 15 * time.Second
	patientStep = 200 * time.Millisecond
)

// Ask repeats the request, for at most patientWait, until there is a response.
func (p Patient) Ask(ctx context.Context, path string) ([]byte, error) {
	waited := time.NewTimer(patientWait)
	defer waited.Stop()
	for said := false; ; said = true {
		body, err := p.Client.Ask(ctx, path)
		var away *AwayError
		if !errors.As(err, &away) {
			return body, err
		}
		if !said {
			fmt.Fprintf(p.Notice, "wayside: %v; waiting for it\n", err)
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

// Ask sends a GET request and returns the body of a 2xx response.
func (c *Client) Ask(ctx context.Context, path string) ([]byte, error) {
	return c.Send(ctx, http.MethodGet, path, http.NoBody)
}

// Open sends a GET request and returns the body of a 2xx response as a stream, which the caller must close.
func (c *Client) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	return c.open(ctx, http.MethodGet, path, http.NoBody)
}

func (c *Client) open(ctx context.Context, method, path string, with io.Reader) (io.ReadCloser, error) {
	resp, err := c.Request(ctx, method, path, with)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // if the reason can be read, it becomes part of the error
	return nil, c.Refusal(resp, body)
}
