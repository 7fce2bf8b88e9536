package uploader

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// dataScheme is the prefix in the name of a directory archive inside the data directory: "data:archive". The name does not contain the
// path of the data directory, which may be moved.
const dataScheme = "data:"

// dirName returns the name of a directory in the catalogue.
func dirName(root, dataDir string) string {
	if dataDir == "" {
		return "file://" + root
	}
	abs, err := filepath.Abs(dataDir)
	if err != nil {
		return "file://" + root
	}
	rel, err := filepath.Rel(abs, root)
	if err != nil || !filepath.IsLocal(rel) {
		return "file://" + root
	}
	return dataScheme + filepath.ToSlash(rel)
}

// Rebase takes the name of an archive in the catalogue of one data directory, from, and returns the name for the catalogue of another,
// into. A name that is relative to from becomes absolute, because the archive is not inside into. If into is empty,
// the result is a URL.
func Rebase(name, from, into string) string {
	rel, found := strings.CutPrefix(name, dataScheme)
	if !found {
		return name
	}
	root, err := filepath.Abs(filepath.Join(from, filepath.FromSlash(rel)))
	if err != nil {
		return name
	}
	return dirName(root, into)
}

// s3Name returns the name of a bucket in the catalogue: a URL that [OpenTarget] accepts.
func s3Name(bucket, prefix string, o *TargetOptions) string {
	q := url.Values{}
	if o.Endpoint != "" {
		q.Set("endpoint", o.Endpoint)
	}
	if o.Region != DefaultRegion {
		q.Set("region", o.Region)
	}
	if o.PathStyle != nil {
		q.Set("path_style", fmt.Sprint(*o.PathStyle))
	}
	u := url.URL{Scheme: "s3", Host: bucket, Path: "/" + strings.TrimSuffix(prefix, "/"), RawQuery: q.Encode()}
	return u.String()
}

// location returns the part of a target's name that identifies where its objects are. The region and the path style only say how to reach
// that place.
func location(name string) string {
	at := strings.LastIndex(name, "?")
	if !strings.HasPrefix(name, "s3://") || at < 0 {
		return strings.TrimSuffix(name, "/")
	}
	bucket := strings.TrimSuffix(name[:at], "/")
	q, err := url.ParseQuery(name[at+1:])
	if err != nil || q.Get("endpoint") == "" {
		return bucket
	}
	return bucket + "?endpoint=" + strings.TrimSuffix(q.Get("endpoint"), "/")
}

// Targets finds the archive of a catalogue entry: the current archive, or a former one that was in use before archive.url was changed. It
// is safe for concurrent use.
type Targets struct {
	current Target
	options TargetOptions

	mu     sync.Mutex
	opened map[string]formerTarget // by name; guarded by mu
}

type formerTarget struct {
	Target
	err error
}

// NewTargets returns Targets with the given current target. The options are used to open former targets, with the credentials of the
// current one.
func NewTargets(current Target, o TargetOptions) *Targets {
	return &Targets{current: current, options: o, opened: map[string]formerTarget{}}
}

// Current returns the current target.
func (ts *Targets) Current() Target { return ts.current }

// IsCurrent reports whether a name in the catalogue is the name of the current target. An entry without a name belongs to the current
// target. In old versions, the name of a directory inside the data directory was its full path.
func (ts *Targets) IsCurrent(name string) bool {
	if _, directory := ts.current.(*dirTarget); directory && strings.HasPrefix(name, dataScheme) && ts.options.DataDir == "" {
		return true // the name is relative to a data directory, but only an archive was given
	}
	return name == "" || location(name) == location(ts.current.Name()) || location(name) == location(ts.current.String())
}

// Of returns the target of an entry. If the catalogue does not have the region and path style of a former bucket, those
// of the current bucket are used if both are on the same server.
func (ts *Targets) Of(ctx context.Context, p *catalogue.Plan) (Target, error) {
	if ts.IsCurrent(p.Target) {
		return ts.current, nil
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	f, known := ts.opened[p.Target]
	if !known {
		f.Target, f.err = ts.open(ctx, p.Target)
		ts.opened[p.Target] = f
	}
	return f.Target, f.err
}

// Holder looks for an entry's object, and returns the target that has it: the entry's own, or the current one if the object was copied
// there. If neither has the object, Holder returns the former target, or an error if the former target does not respond.
func (ts *Targets) Holder(ctx context.Context, p *catalogue.Plan) (Target, error) {
	own, err := ts.Of(ctx, p)
	if own == ts.current {
		return own, nil
	}
	if err == nil {
		_, err = own.Stat(ctx, p.Key)
	}
	if err == nil {
		return own, nil
	}
	if _, here := ts.current.Stat(ctx, p.Key); here == nil {
		return ts.current, nil
	}
	if errors.Is(err, ErrNotFound) {
		return own, nil
	}
	return nil, err
}

func (ts *Targets) open(ctx context.Context, name string) (Target, error) {
	if rel, found := strings.CutPrefix(name, dataScheme); found {
		if local := filepath.FromSlash(rel); filepath.IsLocal(local) && ts.options.DataDir != "" {
			return newDirTarget(filepath.Join(ts.options.DataDir, local), ts.options.DataDir)
		}
		return nil, fmt.Errorf("%w %q is not within a data directory", ErrTargetURL, name)
	}
	o := ts.options
	o.Endpoint, o.Region, o.PathStyle = "", "", nil
	if now, ok := ts.current.(*s3Target); ok && now.hint.endpoint == endpointOf(name) {
		o.Region, o.PathStyle = now.hint.region, now.pathStyle
	}
	return OpenTarget(ctx, name, o)
}

func endpointOf(name string) string {
	_, endpoint, _ := strings.Cut(location(name), "?endpoint=")
	return endpoint
}
