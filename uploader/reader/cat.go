package reader

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/query"
	"github.com/wayside-proxy/wayside/uploader"
)

// Filter selects events. Zero fields accept everything.
type Filter struct {
	Range
	Service, Instance string // whole names
	Method            string
	Path              string          // the template under which the event is counted, or its path; or, with a trailing *, a prefix
	Status            *query.Statuses // nil: any
	Route             string
	GRPC              *query.GRPCCodes // nil: any
	RequestID         string
	Expect            Expected // Cat removes the entries whose objects it finds; not checked with a limit
	Drops             bool     // whether to include drop records; only if nothing but time, service and instance is selected
}

// wantsObject reports whether an object may contain selected events.
func (f *Filter) wantsObject(o *uploader.Object) bool {
	return f.Touches(o.Hour) && isOf(f.Service, f.Instance, o.Service, o.Instance)
}

// everything reports whether all lines of a selected object are selected.
func (f *Filter) everything(o *uploader.Object) bool {
	return f.covers(o.Hour) && f.anyResponse() && f.Drops
}

func (f *Filter) anyResponse() bool {
	return f.Method == "" && f.Path == "" && f.Status == nil && f.RequestID == "" && f.Route == "" && f.GRPC == nil
}

func (f *Filter) wants(l *uploader.Line) bool {
	if !f.Contains(l.Time) {
		return false
	}
	if l.IsDrop() {
		return f.Drops && f.anyResponse()
	}
	return (f.Method == "" || strings.EqualFold(f.Method, l.Method)) && (f.RequestID == "" || f.RequestID == l.RequestID) &&
		(f.Route == "" || f.Route == l.Route) && f.Status.Has(l.Status) && f.GRPC.Has(l.GRPCStatus()) && f.wantsPath(l)
}

func (f *Filter) wantsPath(l *uploader.Line) bool {
	if prefix, found := strings.CutSuffix(f.Path, "*"); found {
		return strings.HasPrefix(l.Path, prefix) || strings.HasPrefix(l.Template, prefix)
	}
	return f.Path == "" || f.Path == l.Path || f.Path == l.Template
}

// errEnough ends a walk early.
var errEnough = errors.New("enough")

// CatResult describes the output of [Cat].
type CatResult struct {
	Lines    uint64    // lines that were written
	Repeated uint64    // lines omitted because an earlier object had the same event
	Problems []Problem // objects that are missing or could not be read to their end
}

// Cat writes the selected lines to w in the form that they have in the archive: hour by hour, object by object within an hour, and each
// event only once. limit is the maximum number of lines; 0 means no limit. If an object is damaged, Cat reports that and continues with
// the others.
func Cat(ctx context.Context, t uploader.Target, f Filter, w io.Writer, limit uint64) (*CatResult, error) {
	c := &catter{f: f, w: bufio.NewWriterSize(w, 64<<10), limit: limit, out: &CatResult{}}
	err := List(ctx, t, f.Range, func(o uploader.Object) error {
		f.Expect.found(o.Key)
		if !f.wantsObject(&o) {
			return nil
		}
		before := c.out.Lines
		err := c.object(ctx, t, &o)
		if skippable(err) {
			c.out.Problems = append(c.out.Problems, Problem{o.Key, fmt.Sprintf("%s; %d of its lines had already been printed", trim(o.Key, err), c.out.Lines-before)})
			return nil
		}
		return err
	})
	switch {
	case errors.Is(err, errEnough):
		err = nil
	case err == nil:
		c.out.Problems = append(c.out.Problems, f.Expect.missing(f.Service, f.Instance)...)
	}
	return c.out, errors.Join(err, c.w.Flush())
}

type catter struct {
	f     Filter
	w     *bufio.Writer
	limit uint64
	out   *CatResult

	hour time.Time
	seen covered // events of this hour
}

func (c *catter) object(ctx context.Context, t uploader.Target, o *uploader.Object) error {
	if !c.hour.Equal(o.Hour) {
		c.hour, c.seen = o.Hour, covered{}
	}
	before := c.seen[o.Epoch]
	all := c.f.everything(o)
	contents, err := uploader.ScanEvents(ctx, t, o.Key, func(text []byte, l *uploader.Line) error {
		if !all && !c.f.wants(l) {
			return nil
		}
		if catalogue.Contains(before, l.Seq) {
			c.out.Repeated++
			return nil
		}
		if _, err := c.w.Write(text); err != nil {
			return err
		}
		if err := c.w.WriteByte('\n'); err != nil {
			return err
		}
		c.out.Lines++
		if c.limit > 0 && c.out.Lines >= c.limit {
			return errEnough
		}
		return nil
	})
	if contents != nil {
		c.seen.add(o.Epoch, contents.Runs)
	}
	return err
}
