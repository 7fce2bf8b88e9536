package upstream

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

// checkBytesMax limits the size of the header and of the body of the response to a check.
const checkBytesMax = 64 << 10

// Check performs active health checks of one server.
type Check struct {
	client  *fasthttp.HostClient
	http2   *http.Client // for servers that speak only HTTP/2; otherwise nil, and client is used
	uri     string
	host    string
	timeout time.Duration
}

// NewCheck prepares checks that request path with GET, over HTTP/2 if http2 is set and over HTTP/1.1 otherwise. dial connects to the server,
// including the TLS handshake. host is the Host of the request. timeout limits each check.
func NewCheck(dial func(context.Context) (net.Conn, error), http2 bool, host, path string, timeout time.Duration) *Check {
	c := &Check{uri: "http://" + host + path, host: host, timeout: timeout}
	if http2 {
		c.http2 = newHTTP2Client(dial)
		return c
	}
	c.client = newHTTP1Client(dial, timeout)
	return c
}

func newHTTP1Client(dial func(context.Context) (net.Conn, error), timeout time.Duration) *fasthttp.HostClient {
	return &fasthttp.HostClient{
		Addr: "upstream", // not used: dial knows the address
		Dial: func(string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			return dial(ctx)
		},
		MaxIdemponentCallAttempts: 1,
		RetryIfErr:                func(*fasthttp.Request, int, error) (bool, bool) { return false, false },
		Name:                      "wayside-check",
		MaxConns:                  1,
		MaxIdleConnDuration:       time.Millisecond,
		ReadBufferSize:            checkBytesMax,
		MaxResponseBodySize:       checkBytesMax,
		DisablePathNormalizing:    true,
	}
}

// newHTTP2Client returns a client that opens a connection for each request and does not follow redirects.
func newHTTP2Client(dial func(context.Context) (net.Conn, error)) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
			Protocols:              protocols,
			MaxResponseHeaderBytes: checkBytesMax,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Do performs one check over a new connection. The check passes if the response has a status from 200 to 399.
func (c *Check) Do() error {
	if c.http2 != nil {
		return c.doHTTP2()
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(c.uri)
	req.Header.SetHost(c.host)
	req.SetConnectionClose()
	if err := c.client.DoDeadline(req, resp, time.Now().Add(c.timeout)); err != nil {
		return err
	}
	return passes(resp.StatusCode())
}

// doHTTP2 is Do over HTTP/2. It does not read the body of the response.
func (c *Check) doHTTP2() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.uri, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "wayside-check")
	defer c.http2.CloseIdleConnections()
	resp, err := c.http2.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	return passes(resp.StatusCode)
}

func passes(status int) error {
	if status < 200 || status > 399 {
		return fmt.Errorf("status %d", status)
	}
	return nil
}
