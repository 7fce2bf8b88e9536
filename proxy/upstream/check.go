package upstream

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// checkBytesMax limits the header and the body of the response to a check.
const checkBytesMax = 64 << 10

// Check asks a server whether it is well.
type Check struct {
	client  *fasthttp.HostClient
	uri     string
	host    string
	timeout time.Duration
}

// NewCheck prepares checks with GET path. dial connects to the server, TLS included; host is the Host of the request; timeout limits
// each check.
func NewCheck(dial func(context.Context) (net.Conn, error), host, path string, timeout time.Duration) *Check {
	return &Check{
		uri: "http://" + host + path, host: host, timeout: timeout,
		client: &fasthttp.HostClient{
			Addr: "upstream", // dial knows the address
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
		},
	}
}

// Do makes one attempt, over a connection of its own. A response with a status from 200 to 399 passes.
func (c *Check) Do() error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(c.uri)
	req.Header.SetHost(c.host)
	req.SetConnectionClose()
	if err := c.client.DoDeadline(req, resp, time.Now().Add(c.timeout)); err != nil {
		return err
	}
	if status := resp.StatusCode(); status < 200 || status > 399 {
		return fmt.Errorf("status %d", status)
	}
	return nil
}
