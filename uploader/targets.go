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

// dataScheme begins the name of a directory archive within the data directory: "data:archive". It says nothing of where the data
// directory is, which may be moved.
const dataScheme = "data:"

// dirName is what the catalogue calls a directory.
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

// Rebase returns what the catalogue of the data directory into calls an archive that the catalogue of from calls name: an archive within
// from is not within into.
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

// s3Name is what the catalogue calls a bucket: a URL that [OpenTarget] takes.
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

// whereabouts is the part of a target's name that says where its objects are. Region and path style only say how to get there.
func whereabouts(name string) string {
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

// Targets finds the archive that holds an entry of the catalogue: the current one, or one that was current before. It is safe for
// concurrent use.
type Targets struct {
	current Target
	options TargetOptions

	mu     sync.Mutex
	opened map[string]formerTarget // guarded by mu; by name
}

type formerTarget struct {
	Target
	err error
}

// NewTargets knows the current target and the options with which former ones are opened: their credentials are those of the
// current one.
func NewTargets(current Target, o TargetOptions) *Targets {
	return &Targets{current: current, options: o, opened: map[string]formerTarget{}}
}

// Current returns the current target.
func (ts *Targets) Current() Target { return ts.current }

// IsCurrent reports whether a name of the catalogue's is that of the current target. Entries without a name are thought to be
// there. Before a data directory could be moved, a directory within it was named by its full path.
func (ts *Targets) IsCurrent(name string) bool {
	if _, directory := ts.current.(*dirTarget); directory && strings.HasPrefix(name, dataScheme) && ts.options.DataDir == "" {
		return true // relative to a data directory of which only the archive is known
	}
	return name == "" || whereabouts(name) == whereabouts(ts.current.Name()) || whereabouts(name) == whereabouts(ts.current.String())
}

// Of returns the target of an entry. Of a former bucket whose region and path style the catalogue does not know, they are taken to be
// those of the current one if it is on the same server.
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

// Holder returns the target in which an entry's object is, as far as presence tells: its own, or, where a former one does not have it
// or does not answer, the current one to which it was copied. If the current one lacks it too, a former target that says so is
// returned, and else the error of one that cannot be asked.
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
	_, endpoint, _ := strings.Cut(whereabouts(name), "?endpoint=")
	return endpoint
}
