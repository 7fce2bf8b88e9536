package otlp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Bounds of a request.
const (
	requestTimeout   = 10 * time.Second // from connecting until the whole response has arrived
	responseBytesMax = 64 << 10
	reasonBytesMax   = 200 // maximum length of the receiver's explanation in an error
)

const contentType = "application/x-protobuf"

// client sends requests to one receiver. It is safe for concurrent use.
type client struct {
	base      string // without a slash at the end
	header    http.Header
	transport *http.Transport
	timeout   time.Duration // requestTimeout; shorter in tests
}

func newClient(o *Options) (*client, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not an OTLP endpoint: write http://host:port or https://host:port", o.Endpoint)
	}
	c := &client{
		base: strings.TrimRight(o.Endpoint, "/"), header: o.Header.Clone(), timeout: requestTimeout,
		transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxConnsPerHost: 2, MaxIdleConnsPerHost: 2, IdleConnTimeout: 90 * time.Second,
			MaxResponseHeaderBytes: responseBytesMax, DisableCompression: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		},
	}
	if o.CA != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool() // this machine has no certificates
		}
		if !pool.AppendCertsFromPEM([]byte(o.CA)) {
			return nil, errors.New("no PEM certificate in the file of otlp.ca_file")
		}
		c.transport.TLSClientConfig.RootCAs = pool
	}
	return c, nil
}

// refusal is a response that does not accept the request.
type refusal struct {
	status string
	reason string        // the receiver's explanation; may be empty
	again  bool          // whether the same request may succeed later
	after  time.Duration // the time that the receiver asks to wait; 0 if it does not say
}

func (r *refusal) Error() string {
	if r.reason == "" {
		return "the receiver responded " + r.status
	}
	return fmt.Sprintf("the receiver responded %s: %s", r.status, r.reason)
}

// temporary reports whether the request that led to an error should be sent again: after network errors, and after the statuses that the
// OTLP specification names.
func temporary(err error) (again bool, after time.Duration) {
	var r *refusal
	if errors.As(err, &r) {
		return r.again, r.after
	}
	return true, 0
}

// partial is the part of a request that the receiver has not accepted, although it responded with 200. Sending that part again is
// useless.
type partial struct {
	rejected uint64
	reason   string
}

var compressors = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails only for a level that does not exist
	return z
}}

// post sends a request to the path of a signal. It does not follow redirects, because a redirect could send the header fields, which may
// contain secrets, to another server.
func (c *client) post(ctx context.Context, path string, body []byte) (partial, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var compressed bytes.Buffer
	z := compressors.Get().(*gzip.Writer) //nolint:forcetypeassert // the pool contains nothing else
	z.Reset(&compressed)
	_, err := z.Write(body)
	if err = errors.Join(err, z.Close()); err != nil {
		return partial{}, err
	}
	compressors.Put(z)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, &compressed)
	if err != nil {
		return partial{}, err
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Content-Encoding", "gzip")
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "wayside")
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return partial{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, responseBytesMax))
	if err != nil {
		return partial{}, err
	}
	return understand(resp, answer)
}

// understand interprets a response.
func understand(resp *http.Response, body []byte) (partial, error) {
	binary := strings.HasPrefix(resp.Header.Get("Content-Type"), contentType)
	if resp.StatusCode/100 == 2 {
		if !binary {
			return partial{}, nil
		}
		const partialSuccess, rejected, message = 1, 1, 2 // Export…ServiceResponse and Export…PartialSuccess
		_, part := fieldOf(body, partialSuccess)
		n, _ := fieldOf(part, rejected)
		_, reason := fieldOf(part, message)
		return partial{n, printable(reason)}, nil
	}
	r := &refusal{status: resp.Status, again: slices.Contains([]int{
		http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	}, resp.StatusCode)}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		r.after = time.Duration(min(seconds, int(retryMax/time.Second))) * time.Second
	}
	if binary {
		const message = 2 // google.rpc.Status
		_, body = fieldOf(body, message)
	}
	r.reason = printable(body)
	if to := resp.Header.Get("Location"); to != "" && resp.StatusCode/100 == 3 {
		r.reason = "redirects are not followed; set otlp.endpoint to the address behind " + printable([]byte(to))
	}
	return partial{}, r
}

// printable returns the beginning of a text from the receiver, without control characters.
func printable(text []byte) string {
	text = bytes.ToValidUTF8(text[:min(len(text), reasonBytesMax)], nil)
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, string(text)))
}
