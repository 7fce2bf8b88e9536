package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
)

// ErrNotFound says that there is no such object, or not all of it.
var ErrNotFound = errors.New("no such archive object")

// ErrTargetURL is wrapped by every error of [OpenTarget] about the URL, which the operator can fix.
var ErrTargetURL = errors.New("archive URL")

// ObjectInfo describes an object of a target.
type ObjectInfo struct {
	Key  string            // below the target's prefix, starting with "v1/"
	Size int64             // bytes
	Meta map[string]string // lower-case names, see [MetaFormat]; nil from List
}

// Target stores objects: a directory or a bucket. Keys are relative to the target's prefix and use "/". Implementations are safe for
// concurrent use with different keys.
type Target interface {
	// Put writes the object. If there is one under this key already, it is replaced unless it is the same. After a nil return the
	// object has exactly these bytes and this metadata, durably; after an error it may or may not. Put reads body from its
	// beginning, several times if it must, and never after it has returned.
	Put(ctx context.Context, key string, body io.ReadSeeker, size int64, meta map[string]string) error
	// Get opens the object. The caller closes the body. The error wraps ErrNotFound if there is none.
	Get(ctx context.Context, key string) (io.ReadCloser, map[string]string, error)
	// Stat describes the object without reading it. The error wraps ErrNotFound if there is none.
	Stat(ctx context.Context, key string) (ObjectInfo, error)
	// List calls fn for each object whose key begins with prefix, in order of keys, until fn fails.
	List(ctx context.Context, prefix string, fn func(ObjectInfo) error) error
	// MetaBytesMax is the room for metadata in bytes; 0 means no limit.
	MetaBytesMax() int
	// String is the target's URL without credentials, for messages.
	String() string
	// Name is the target's name in the catalogue, see [Targets].
	Name() string
}

// TargetOptions are settings of a target besides its URL. A setting in the URL takes precedence.
type TargetOptions struct {
	Endpoint  string // S3: URL of the server; default that of AWS for the region
	Region    string // S3: default "us-east-1"; never looked up, because that needs another permission
	PathStyle *bool  // S3: bucket in the path, not in the host name; default: only for endpoints other than AWS

	// S3: fixed credentials. Without them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the shared AWS files, and the
	// role of the pod, task or instance, in this order.
	AccessKey, SecretKey string

	// S3: PEM certificates to trust besides those of the system.
	CA string

	// DataDir is the data directory. The catalogue names directories within it relative to it.
	DataDir string

	Transport http.RoundTripper // S3: default a transport with timeouts and the proxy of the environment
	Logger    *slog.Logger      // default slog.Default()
}

// OpenTarget opens the target with a URL: "file:///dir", an absolute or relative path, or
// "s3://bucket/prefix?endpoint=&region=&path_style=". It checks the URL and does not contact the server. A directory is made when the
// first object is written.
func OpenTarget(_ context.Context, rawURL string, o TargetOptions) (Target, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if !strings.Contains(rawURL, "://") {
		if rawURL == "" {
			return nil, fmt.Errorf("%w is empty: want file:///dir or s3://bucket/prefix", ErrTargetURL)
		}
		return newDirTarget(rawURL, o.DataDir)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse repeats the URL, which may contain a secret by mistake.
		return nil, fmt.Errorf("%w is not a URL: want file:///dir or s3://bucket/prefix", ErrTargetURL)
	}
	if u.User != nil {
		return nil, fmt.Errorf("%w holds credentials: give them in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead", ErrTargetURL)
	}
	if u.Fragment != "" {
		return nil, fmt.Errorf("%w has a fragment %q: write # as %%23", ErrTargetURL, u.Fragment)
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("%w has host %q: a directory takes three slashes, file:///dir", ErrTargetURL, u.Host)
		}
		if u.RawQuery != "" {
			return nil, fmt.Errorf("%w: a directory takes no settings, found ?%s", ErrTargetURL, u.RawQuery)
		}
		return newDirTarget(u.Path, o.DataDir)
	case "s3":
		return openS3(u, o)
	}
	return nil, fmt.Errorf("%w has scheme %q: want file:///dir or s3://bucket/prefix", ErrTargetURL, u.Scheme)
}
