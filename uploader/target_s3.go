package uploader

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// s3MetaBytes is the maximum size of the metadata. S3 allows 2 KiB, but proxies and other servers may count more.
const s3MetaBytes = 1536

// DefaultRegion is used if no region is set. Servers other than AWS usually ignore it.
const DefaultRegion = "us-east-1"

// s3Target keeps objects in a bucket. For endpoints other than AWS, it uses only simple requests: a single PUT with a signed hash of the
// body, no multipart upload, and no chunked signature. As a checksum, it prefers Content-MD5, which every server supports and which
// buckets with Object Lock require.
type s3Target struct {
	core   minio.Core
	bucket string
	prefix string // "" or ends with "/"
	name   string
	// stored is the target's name in the catalogue, and pathStyle is the setting.
	stored    string
	pathStyle *bool
	hint      s3Hints
	logger    *slog.Logger
	// unconditional is set after the server has rejected If-None-Match.
	unconditional atomic.Bool
	// checksum is the type of [checksum] in the last request that the server accepted.
	checksum atomic.Int32
}

func openS3(u *url.URL, o TargetOptions) (*s3Target, error) {
	if err := o.readQuery(u.Query()); err != nil {
		return nil, err
	}
	if u.Host == "" {
		return nil, fmt.Errorf("%w names no bucket: want s3://bucket/prefix", ErrTargetURL)
	}
	if err := s3utils.CheckValidBucketName(u.Host); err != nil {
		return nil, fmt.Errorf("%w: bucket %q: %w", ErrTargetURL, u.Host, err)
	}
	if o.Region == "" {
		o.Region = DefaultRegion
	}
	host, secure, err := splitEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	transport := o.Transport
	if transport == nil {
		if transport, err = newTransport(secure, o.CA); err != nil {
			return nil, fmt.Errorf("prepare TLS for S3: %w", err)
		}
	}
	lookup := minio.BucketLookupAuto
	if o.PathStyle != nil {
		lookup = minio.BucketLookupDNS
		if *o.PathStyle {
			lookup = minio.BucketLookupPath
		}
	}
	client, err := minio.New(host, &minio.Options{
		Creds: awsCredentials(o), Secure: secure, Region: o.Region, BucketLookup: lookup, Transport: s3Only{transport},
		MaxRetries: 1, // retry.go runs the job again
	})
	if err != nil {
		return nil, fmt.Errorf("%w: endpoint %q: %w", ErrTargetURL, o.Endpoint, err)
	}
	t := &s3Target{core: minio.Core{Client: client}, bucket: u.Host, logger: o.Logger}
	if t.prefix = strings.Trim(u.Path, "/"); t.prefix != "" {
		t.prefix += "/"
	}
	t.name = "s3://" + t.bucket + "/" + strings.TrimSuffix(t.prefix, "/")
	t.hint = s3Hints{bucket: t.bucket, region: o.Region, endpoint: o.Endpoint}
	if o.Endpoint != "" {
		t.name += "?endpoint=" + o.Endpoint
	}
	t.stored, t.pathStyle = s3Name(t.bucket, t.prefix, &o), o.PathStyle
	return t, nil
}

// readQuery reads the settings in the URL, which take precedence.
func (o *TargetOptions) readQuery(q url.Values) error {
	for key, values := range q {
		value := values[len(values)-1]
		switch key {
		case "endpoint":
			o.Endpoint = value
		case "region":
			o.Region = value
		case "path_style":
			on, err := strconv.ParseBool(value)
			if err != nil {
				return fmt.Errorf("%w: path_style=%q: want true or false", ErrTargetURL, value)
			}
			o.PathStyle = &on
		default:
			return fmt.Errorf("%w: unknown setting %q: known are endpoint, region and path_style", ErrTargetURL, key)
		}
	}
	return nil
}

// splitEndpoint parses "https://host:port", "http://host:port" or "host:port" (https). Empty means AWS.
func splitEndpoint(endpoint string) (host string, secure bool, err error) {
	if endpoint == "" {
		return "s3.amazonaws.com", true, nil
	}
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", false, fmt.Errorf("%w: endpoint is not like https://host:port", ErrTargetURL)
	}
	return u.Host, u.Scheme == "https", nil
}

// dialTimeout limits the time for connecting.
const dialTimeout = 10 * time.Second

// newTransport returns minio's default transport, which has timeouts for each step, uses the proxy from the environment
// and SSL_CERT_FILE, and does not unpack gzip bodies. It also trusts the PEM certificates in ca.
func newTransport(secure bool, ca string) (http.RoundTripper, error) {
	t, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, err
	}
	// The uploader limits the wait itself (see requests): on a slow link, a body may still be in transit long after the kernel has
	// accepted its last byte.
	t.ResponseHeaderTimeout = 0
	t.MaxResponseHeaderBytes = 64 << 10
	t.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	if ca == "" {
		return t, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // this machine has no certificates
	}
	if !pool.AppendCertsFromPEM([]byte(ca)) {
		return nil, errors.New("no PEM certificate in the file of archive.ca_file")
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}

func (t *s3Target) String() string    { return t.name }
func (t *s3Target) Name() string      { return t.stored }
func (t *s3Target) MetaBytesMax() int { return s3MetaBytes }

func (t *s3Target) Get(ctx context.Context, key string) (io.ReadCloser, map[string]string, error) {
	body, info, _, err := t.core.GetObject(ctx, t.bucket, t.prefix+key, minio.GetObjectOptions{})
	switch {
	case err == nil:
		return body, lowerKeys(info.UserMetadata), nil
	case missing(err):
		return nil, nil, fmt.Errorf("read %s from %s: %w", key, t.name, ErrNotFound)
	}
	return nil, nil, t.hint.explain("read "+key+" from "+t.name, err)
}

// Stat uses HEAD. A response to HEAD says only 404, whatever is missing. In that case, Stat requests the object itself with GET, to find
// out what is missing.
func (t *s3Target) Stat(ctx context.Context, key string) (ObjectInfo, error) {
	action := "look up " + key + " in " + t.name
	info, err := t.core.StatObject(ctx, t.bucket, t.prefix+key, minio.StatObjectOptions{})
	if missing(err) {
		var body io.ReadCloser
		if body, info, _, err = t.core.GetObject(ctx, t.bucket, t.prefix+key, minio.GetObjectOptions{}); err == nil {
			_ = body.Close()
		}
	}
	switch {
	case err == nil:
		return ObjectInfo{Key: key, Size: info.Size, Meta: lowerKeys(info.UserMetadata)}, nil
	case missing(err):
		return ObjectInfo{}, fmt.Errorf("%s: %w", action, ErrNotFound)
	}
	return ObjectInfo{}, t.hint.explain(action, err)
}

// removeProbe deletes the object that was used to test the archive, if that is permitted. Apart from that, wayside needs no permission to
// delete.
func (t *s3Target) removeProbe(ctx context.Context, key string) error {
	if err := t.core.RemoveObject(ctx, t.bucket, t.prefix+key, minio.RemoveObjectOptions{}); err != nil {
		return t.hint.explain("delete "+key+" in "+t.name, err)
	}
	return nil
}

func (t *s3Target) List(ctx context.Context, prefix string, fn func(ObjectInfo) error) error {
	// The iterator stops when its context ends, so the context must also end if fn fails.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for o := range t.core.ListObjectsIter(ctx, t.bucket, minio.ListObjectsOptions{Prefix: t.prefix + prefix, Recursive: true}) {
		if o.Err != nil {
			return t.hint.explain("list "+t.name, o.Err)
		}
		if !strings.HasSuffix(o.Key, objectSuffix) {
			continue
		}
		if err := fn(ObjectInfo{Key: strings.TrimPrefix(o.Key, t.prefix), Size: o.Size}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func lowerKeys(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[strings.ToLower(k)] = v
	}
	return out
}
