package configs

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// checkArchiveURL checks the form of the URL. validator.archive checks the bucket or directory, after service and instance have been inserted.
func checkArchiveURL(s string) string {
	const form = "file:///dir or s3://bucket/prefix"
	plain := strings.NewReplacer("{service}", "service", "{instance}", "instance").Replace(s)
	if strings.ContainsAny(plain, "{}") {
		return fmt.Sprintf("%q has a placeholder that is not {service} or {instance}", s)
	}
	u, msg := parseURL(plain, form)
	switch {
	case u == nil:
		return msg
	case u.User != nil:
		return "contains credentials, which belong in the AWS environment or in archive.access_key_file and archive.secret_key_file"
	case strings.Contains(s, "#"):
		return fmt.Sprintf("%q has a #, and everything after it would be ignored: write it as %%23", s)
	case u.Scheme == "file":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") || u.RawQuery != "" || u.ForceQuery {
			return fmt.Sprintf("%q is not a directory: write file:///dir, with three slashes and the full path", s)
		}
		return checkText(u.Path)
	case u.Scheme != "s3" || u.Host == "":
		return fmt.Sprintf("%q is not an archive: write %s", s, form)
	case strings.Contains(u.Host, ":"):
		return fmt.Sprintf("%q has a port after the bucket: name the server with ?endpoint=http://host:port", s)
	}
	if msg := checkPrefix(strings.Trim(u.Path, "/")); msg != "" {
		return msg
	}
	return checkArchiveQuery(u)
}

// prefixBytesMax leaves room for the rest of an object's name. S3 allows 1,024 bytes in total.
const prefixBytesMax = 512

// checkPrefix rejects prefixes that different servers and tools interpret differently.
func checkPrefix(prefix string) string {
	if len(prefix) > prefixBytesMax {
		return fmt.Sprintf("its prefix has %d bytes: the maximum is %d", len(prefix), prefixBytesMax)
	}
	for segment := range strings.SplitSeq(prefix, "/") {
		if prefix != "" && (segment == "" || segment == "." || segment == "..") {
			return fmt.Sprintf("its prefix %q has an empty part, . or ..: leave it out", prefix)
		}
	}
	return checkText(prefix)
}

func checkArchiveQuery(u *url.URL) string {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fmt.Sprintf("the part after ? cannot be parsed: %s", err)
	}
	for name, values := range q {
		if !slices.Contains([]string{"endpoint", "region", "path_style"}, name) {
			return fmt.Sprintf("%s is not an option of an archive: the options are endpoint, region and path_style", name)
		}
		if len(values) > 1 {
			return fmt.Sprintf("%s is given twice: remove one", name)
		}
	}
	if e := q.Get("endpoint"); e != "" {
		if msg := checkEndpoint(e); msg != "" {
			return "endpoint: " + msg
		}
	}
	if r := q.Get("region"); r != "" {
		if msg := checkRegion(r); msg != "" {
			return "region: " + msg
		}
	}
	if p := q.Get("path_style"); p != "" && p != "true" && p != "false" {
		return fmt.Sprintf("path_style=%s is neither true nor false", p)
	}
	return ""
}

// s3Keys are the keys that have an effect only for an archive in a bucket.
var s3Keys = []string{
	"archive.endpoint", "archive.region", "archive.path_style", "archive.access_key_file", "archive.secret_key_file", "archive.ca_file",
}

// archive checks the bucket or directory in archive.url, and checks that the other keys match it.
func (v *validator) archive() {
	a := v.c.Archive
	if (a.AccessKey == "") != (a.SecretKey == "") && v.sound("archive.access_key_file", "archive.secret_key_file") {
		set, missing := "archive.access_key_file", "archive.secret_key_file"
		if a.AccessKey == "" {
			set, missing = missing, set
		}
		v.failf(set, "needs %s as well", missing)
	}
	if !v.sound("archive.url", "data.dir", "service", "instance") || a.URL == "" {
		return
	}
	name := strings.NewReplacer("{service}", url.PathEscape(v.c.Service), "{instance}", url.PathEscape(v.c.Instance))
	u, err := url.Parse(name.Replace(a.URL))
	if err != nil {
		v.failf("archive.url", "%q is not a URL once service (%s) and instance (%s) are inserted: write the names out", a.URL, v.c.Service, v.c.Instance)
		return
	}
	if u.Scheme == "file" {
		v.localArchive(u.Path)
		return
	}
	if msg := checkBucket(u.Host); msg != "" {
		v.failf("archive.url", "%s", msg)
	}
	for key, value := range map[string]string{"endpoint": a.Endpoint, "region": a.Region} {
		if in := u.Query().Get(key); in != "" && value != "" && in != value && v.sound("archive."+key) {
			v.failf("archive."+key, "%s contradicts %s=%s in archive.url: keep one of the two", value, key, in)
		}
	}
}

// localArchive rejects an archive that is among wayside's own files. It also rejects S3 keys that are set together with a directory,
// because someone who sets them expects a bucket. S3 keys from a source with lower precedence than the URL's are ignored, because the URL
// replaces them.
func (v *validator) localArchive(dir string) {
	rank := v.c.origins["archive.url"].source.rank()
	for _, key := range s3Keys {
		if at, set := v.c.origins[key]; set && at.source.rank() >= rank && v.sound(key) && v.isSet(key) {
			v.failf(key, "is for an archive in S3, and archive.url is %s: set archive.url to s3://bucket/prefix, or leave %s out", v.c.Archive.URL, key)
		}
	}
	if msg := checkDirectory(dir); msg != "" {
		v.failf("archive.url", "%s", msg)
		return
	}
	data, err := filepath.Abs(v.c.Data.Dir)
	if err != nil {
		return
	}
	rel, err := filepath.Rel(data, filepath.Clean(dir))
	if err != nil {
		return
	}
	first, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
	if slices.Contains([]string{".", "spool", "store", "quarantine"}, first) {
		v.failf("archive.url", "%s is a directory that wayside uses itself: use %s or one outside the data directory", dir, filepath.Join(data, "archive"))
	}
}

// isSet reports whether a key is set to something other than the empty value. A file may set the empty value explicitly.
func (v *validator) isSet(path string) bool {
	for _, k := range table(v.c) {
		if k.path == path {
			value := text(k.field)
			return value != "" && value != "false"
		}
	}
	return false
}

// TargetURL returns the URL of the archive. Its query contains endpoint, region and path style, no matter whether the URL or other keys
// set them.
func (a Archive) TargetURL() string {
	u, err := url.Parse(a.URL)
	if err != nil || u.Scheme != "s3" {
		return a.URL
	}
	q := u.Query()
	for key, value := range map[string]string{"endpoint": a.Endpoint, "region": a.Region} {
		if value != "" && q.Get(key) == "" {
			q.Set(key, value)
		}
	}
	if a.PathStyle && q.Get("path_style") == "" {
		q.Set("path_style", "true")
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// ArchiveURL returns the URL of the archive: [Archive.TargetURL] with {service} and {instance} replaced. The names are escaped in the
// same way as in object keys, so a name cannot change the rest of the path.
func (c *Config) ArchiveURL() string {
	// Escaped once for the key, and once more for the URL.
	name := func(s string) string { return strings.ReplaceAll(string(catalogue.AppendName(nil, s)), "%", "%25") }
	a := c.Archive
	a.URL = strings.NewReplacer("{service}", name(c.Service), "{instance}", name(c.Instance)).Replace(a.URL)
	return a.TargetURL()
}

// LocalArchive returns the directory of the archive, or an empty string if it is in a bucket.
func (c *Config) LocalArchive() string {
	if u, err := url.Parse(c.ArchiveURL()); err == nil && u.Scheme == "file" {
		return u.Path
	}
	return ""
}

// ArchiveExpiry returns how long event objects stay in the archive; 0 means forever. wayside deletes only from a directory, never from a bucket.
func (c *Config) ArchiveExpiry() time.Duration {
	if c.LocalArchive() == "" {
		return 0
	}
	return c.Archive.Expire.Std()
}
