package fleet

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// exampleBucket is printed if no bucket is given.
const exampleBucket = "s3://BUCKET/PREFIX"

// location returns the address of the archive in the engine's syntax, without a trailing slash except for ClickHouse.
func location(o Options) (string, error) {
	bucket := o.Bucket
	if bucket == "" {
		bucket = exampleBucket
	}
	if o.Engine == DuckDB && !strings.Contains(bucket, "://") {
		return filepath.ToSlash(filepath.Clean(bucket)), nil
	}
	u, err := url.Parse(bucket)
	if err != nil || u.User != nil { // the error of url.Parse quotes the URL, which may accidentally contain a secret
		return "", fmt.Errorf("%w: want s3://bucket/prefix, without credentials", ErrBucket)
	}
	switch {
	case u.Scheme == "file" && o.Engine == DuckDB && (u.Host == "" || u.Host == "localhost"):
		return filepath.ToSlash(filepath.Clean(u.Path)), nil
	case u.Scheme != "s3" || u.Host == "":
		return "", fmt.Errorf("%w %q: %s reads s3://bucket/prefix", ErrBucket, bucket, o.Engine)
	}
	prefix := strings.Trim(u.Path, "/")
	if o.Engine != ClickHouse {
		return strings.TrimSuffix("s3://"+u.Host+"/"+prefix, "/"), nil
	}
	q := u.Query()
	base := q.Get("endpoint")
	switch region := q.Get("region"); {
	case base != "" && q.Get("path_style") == "false":
		scheme, host, _ := strings.Cut(base, "://")
		base = scheme + "://" + u.Host + "." + strings.Trim(host, "/")
	case base != "":
		base = strings.TrimRight(base, "/") + "/" + u.Host
	case region != "":
		base = "https://" + u.Host + ".s3." + region + ".amazonaws.com"
	default:
		base = "https://" + u.Host + ".s3.amazonaws.com"
	}
	if prefix != "" {
		prefix += "/"
	}
	return base + "/" + prefix, nil
}
