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

// ErrNotFound means that the object does not exist, or is incomplete.
var ErrNotFound = errors.New("no such archive object")

// ErrTargetURL is wrapped by every error of [OpenTarget] that is caused by the URL and that the operator can therefore fix.
var ErrTargetURL = errors.New("archive URL")

// ObjectInfo describes an object of a target.
type ObjectInfo struct {
	Key  string            // below the target's prefix, starting with "v1/"
	Size int64             // bytes
	Meta map[string]string // lower-case names, see [MetaFormat]; nil from List
}

// Target stores objects in a directory or a bucket. Keys are relative to the target's prefix and use "/".
// Implementations are safe for concurrent use with different keys.
type Target interface {
	// Put writes the object. It replaces an object that already has this key, unless both are identical. After Put has returned nil, the
	// object durably has exactly these bytes and this metadata; after an error, it is unknown whether it does. Put reads body from its
	// beginning, several times if necessary, but never after it has returned.
	Put(ctx context.Context, key string, body io.ReadSeeker, size int64, meta map[string]string) error
	// Get opens the object. The caller must close the body. The error wraps ErrNotFound if there is no such object.
	Get(ctx context.Context, key string) (io.ReadCloser, map[string]string, error)
	// Stat describes the object without reading it. The error wraps ErrNotFound if there is no such object.
	Stat(ctx context.Context, key string) (ObjectInfo, error)
	// List calls fn for each object whose key begins with prefix, in the order of keys, until fn fails.
	List(ctx context.Context, prefix string, fn func(ObjectInfo) error) error
	// MetaBytesMax returns the maximum size of the metadata in bytes; 0 means no limit.
	MetaBytesMax() int
	// String returns the target's URL without credentials, for messages.
	String() string
	// Name returns the target's name in the catalogue (see [Targets]).
	Name() string
}

// TargetOptions are settings of a target in addition to its URL. Settings in the URL take precedence.
type TargetOptions struct {
	Endpoint  string // S3: URL of the server; default that of AWS for the region
	Region    string // S3: default "us-east-1"; the region is never looked up, because that would require another permission
	PathStyle *bool  // S3: put the bucket into the path, not the host name; by default only for endpoints other than AWS

	// S3: fixed credentials. If they are empty, credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the
	// shared AWS files, or the role of the pod, task or instance, in this order.
	AccessKey, SecretKey string

	// S3: PEM certificates to trust in addition to those of the system.
	CA string

	// DataDir is the data directory. The catalogue refers to directories inside it by their relative paths.
	DataDir string

	Transport http.RoundTripper // S3: default a transport with timeouts and the proxy of the environment
	Logger    *slog.Logger      // default slog.Default()
}

// OpenTarget opens the target with the given URL: "file:///dir", an absolute or relative path, or
// "s3://bucket/prefix?endpoint=&region=&path_style=". It checks the URL but does not contact the server. A directory is
// created when the first object is written.
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
		// The error of url.Parse quotes the URL, which may accidentally contain a secret.
		return nil, fmt.Errorf("%w is not a URL: want file:///dir or s3://bucket/prefix", ErrTargetURL)
	}
	if u.User != nil {
		return nil, fmt.Errorf("%w contains credentials: put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead", ErrTargetURL)
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
			return nil, fmt.Errorf("%w: a directory has no settings, but the URL has ?%s", ErrTargetURL, u.RawQuery)
		}
		return newDirTarget(u.Path, o.DataDir)
	case "s3":
		return openS3(u, o)
	}
	return nil, fmt.Errorf("%w has scheme %q: want file:///dir or s3://bucket/prefix", ErrTargetURL, u.Scheme)
}
