package uploader

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// s3MetaBytes is the room for metadata. S3 allows 2 KiB; proxies and other servers may count more strictly.
const s3MetaBytes = 1536

// DefaultRegion is assumed where no region is set. Servers other than AWS mostly do not care.
const DefaultRegion = "us-east-1"

// s3Target keeps objects in a bucket. Requests are as plain as the protocol allows, for the sake of endpoints other than
// AWS: one PUT with a signed hash of the body, no multipart, no chunked signatures, no checksum headers.
type s3Target struct {
	core   minio.Core
	bucket string
	prefix string // "" or ends with "/"
	name   string
	hint   s3Hints
	logger *slog.Logger
	// unconditional is set when the server has refused If-None-Match.
	unconditional atomic.Bool
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
		Creds: awsCredentials(o), Secure: secure, Region: o.Region, BucketLookup: lookup, Transport: transport,
		MaxRetries: 1, // the job retries; two loops would multiply
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
	return t, nil
}

// readQuery lets the settings in the URL win over those given beside it.
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

// splitEndpoint takes "https://host:port", "http://host:port" or "host:port" (https) apart. Empty means AWS.
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

// newTransport is minio's default, which has timeouts for each step, the environment's proxy, SSL_CERT_FILE, and leaves gzip
// bodies alone; with the PEM certificates of ca, if any, besides the system's.
func newTransport(secure bool, ca string) (http.RoundTripper, error) {
	t, err := minio.DefaultTransport(secure)
	if err != nil || ca == "" {
		return t, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without certificates of its own
	}
	if !pool.AppendCertsFromPEM([]byte(ca)) {
		return nil, errors.New("no PEM certificate among those to trust")
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}

func (t *s3Target) String() string    { return t.name }
func (t *s3Target) MetaBytesMax() int { return s3MetaBytes }

// Put sends the object with If-None-Match, so that a server which has it already says so, and falls back to a plain PUT
// where the server does not know the header, or has something else under the key: a truncated upload, or the output of
// another version for the same plan. Keys hold the epoch, so nobody else writes under them.
func (t *s3Target) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, meta map[string]string) error {
	hash := sha256.New()
	n, err := copyFromStart(hash, body)
	if err != nil {
		return fmt.Errorf("hash %s: %w", key, err)
	}
	if n != size {
		return fmt.Errorf("write %s: body has %d bytes, announced were %d", key, n, size)
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	if !t.unconditional.Load() {
		err = t.put(ctx, key, body, size, sum, meta, true)
		switch {
		case err == nil:
			return nil
		case isPrecondition(err), isCut(err) && t.exists(ctx, key):
			if t.holds(ctx, key, sum, size, meta) {
				return nil
			}
			t.logger.Warn("archive object differs from its plan, writing it again", "key", key, "target", t.name)
		case isUnsupported(err):
			t.unconditional.Store(true)
		default:
			return t.hint.explain("write "+key+" to "+t.name, err)
		}
	}
	if err := t.put(ctx, key, body, size, sum, meta, false); err != nil {
		return t.hint.explain("write "+key+" to "+t.name, err)
	}
	return nil
}

func (t *s3Target) put(ctx context.Context, key string, body io.ReadSeeker, size int64, sum string, meta map[string]string, ifAbsent bool) error {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	// No Content-Encoding: the object is a gzip file, not a page that clients and gateways should unpack on the way.
	o := minio.PutObjectOptions{UserMetadata: meta, ContentType: "application/gzip", DisableContentSha256: true}
	if ifAbsent {
		o.SetMatchETagExcept("*")
	}
	attempt := &attemptBody{r: body}
	defer attempt.end()
	_, err := t.core.PutObject(ctx, t.bucket, t.prefix+key, attempt, size, "", sum, o)
	return err
}

// attemptBody lends a body to one request. A server may answer before it has read the whole body (412 does), and net/http
// then goes on reading for a moment after the request has returned: without this, the next request would share its position
// with the last one.
type attemptBody struct {
	mu    sync.Mutex
	r     io.ReadSeeker
	ended bool // guarded by mu
}

var errAttemptEnded = errors.New("read of a body whose request has ended")

func (a *attemptBody) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return 0, errAttemptEnded
	}
	return a.r.Read(p)
}

func (a *attemptBody) Seek(offset int64, whence int) (int64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return 0, errAttemptEnded
	}
	return a.r.Seek(offset, whence)
}

// end waits for a read that is under way and makes every later one fail.
func (a *attemptBody) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
}

// exists reports whether the server certainly has something under key.
func (t *s3Target) exists(ctx context.Context, key string) bool {
	_, err := t.Stat(ctx, key)
	return err == nil
}

// holds reports whether the server has exactly this object. Any doubt counts as no.
func (t *s3Target) holds(ctx context.Context, key, sum string, size int64, meta map[string]string) bool {
	body, got, err := t.Get(ctx, key)
	if err != nil {
		return false
	}
	defer body.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(body, size+1))
	return err == nil && n == size && hex.EncodeToString(hash.Sum(nil)) == sum && metaDiffers(meta, got) == ""
}

func (t *s3Target) Get(ctx context.Context, key string) (io.ReadCloser, map[string]string, error) {
	body, info, _, err := t.core.GetObject(ctx, t.bucket, t.prefix+key, minio.GetObjectOptions{})
	if err != nil {
		return nil, nil, t.hint.explain("read "+key+" from "+t.name, err)
	}
	return body, lowerKeys(info.UserMetadata), nil
}

func (t *s3Target) Stat(ctx context.Context, key string) (ObjectInfo, error) {
	info, err := t.core.StatObject(ctx, t.bucket, t.prefix+key, minio.StatObjectOptions{})
	if err != nil {
		return ObjectInfo{}, t.hint.explain("look up "+key+" in "+t.name, err)
	}
	return ObjectInfo{Key: key, Size: info.Size, Meta: lowerKeys(info.UserMetadata)}, nil
}

func (t *s3Target) List(ctx context.Context, prefix string, fn func(ObjectInfo) error) error {
	// The iterator stops asking when its context ends, which it must when fn fails.
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

func copyFromStart(dst io.Writer, src io.ReadSeeker) (int64, error) {
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	return io.Copy(dst, src)
}

func isPrecondition(err error) bool {
	return minio.ToErrorResponse(err).StatusCode == http.StatusPreconditionFailed
}

// isCut recognises a connection that ended without an answer. A server that refuses a body it has not read yet may close
// the connection, and its refusal is lost on the way.
func isCut(err error) bool {
	var op *net.OpError
	dial := errors.As(err, &op) && op.Op == "dial"
	return minio.ToErrorResponse(err).StatusCode == 0 && !dial && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// isUnsupported recognises the answers of servers that do not know If-None-Match on a PUT.
func isUnsupported(err error) bool {
	r := minio.ToErrorResponse(err)
	return r.StatusCode == http.StatusNotImplemented || r.Code == "NotImplemented"
}
