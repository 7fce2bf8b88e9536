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

// Filter says which events are wanted. Zero fields let everything through.
type Filter struct {
	Range
	Service, Instance string // whole names
	Method            string
	Path              string          // the template it was counted under, or the path as received; a trailing * makes it a prefix
	Status            *query.Statuses // nil: any
	RequestID         string
	Expect            Expected // used up; with a limit nothing is said of it
	Drops             bool     // drop records too, where nothing but time, service and instance is asked for
}

// wantsObject reports whether an object may hold wanted events.
func (f *Filter) wantsObject(o *Object) bool {
	return f.Touches(o.Hour) && (f.Service == "" || f.Service == o.Service) && (f.Instance == "" || f.Instance == o.Instance)
}

// everything reports whether every line of an object that is wanted is wanted.
func (f *Filter) everything(o *Object) bool {
	return f.covers(o.Hour) && f.anyResponse() && f.Drops
}

func (f *Filter) anyResponse() bool {
	return f.Method == "" && f.Path == "" && f.Status == nil && f.RequestID == ""
}

func (f *Filter) wants(l *uploader.Line) bool {
	if !f.Contains(l.Time) {
		return false
	}
	if l.Kind == "drop" {
		return f.Drops && f.anyResponse()
	}
	return (f.Method == "" || strings.EqualFold(f.Method, l.Method)) && (f.RequestID == "" || f.RequestID == l.RequestID) && f.Status.Has(l.Status) && f.wantsPath(l)
}

func (f *Filter) wantsPath(l *uploader.Line) bool {
	if prefix, found := strings.CutSuffix(f.Path, "*"); found {
		return strings.HasPrefix(l.Path, prefix) || strings.HasPrefix(l.Template, prefix)
	}
	return f.Path == "" || f.Path == l.Path || f.Path == l.Template
}

// errEnough ends a walk that has found what it wanted.
var errEnough = errors.New("enough")

// Catted is what [Cat] did.
type Catted struct {
	Lines    uint64    // written
	Repeated uint64    // lines left out, because an object before had the event
	Problems []Problem // objects that are missing, or could not be read to their end
}

// Cat writes the lines that the filter wants to w, as they stand in the archive: hour by hour, within an hour object by
// object, each event once. limit ends it after so many lines; 0 means no limit. An object that is damaged is reported, and the
// others are read all the same.
func Cat(ctx context.Context, t uploader.Target, f Filter, w io.Writer, limit uint64) (*Catted, error) {
	c := &catter{f: f, w: bufio.NewWriterSize(w, readBytes), limit: limit, out: &Catted{}}
	err := List(ctx, t, f.Range, func(o Object) error {
		f.Expect.met(o.Key)
		if !f.wantsObject(&o) {
			return nil
		}
		before := c.out.Lines
		err := c.object(ctx, t, &o)
		if skippable(err) {
			c.out.Problems = append(c.out.Problems, Problem{o.Key, fmt.Sprintf("%s; lines printed of it before that: %d", trim(o.Key, err), c.out.Lines-before)})
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
	out   *Catted

	hour time.Time
	seen covered // of this hour
}

func (c *catter) object(ctx context.Context, t uploader.Target, o *Object) error {
	if !c.hour.Equal(o.Hour) {
		c.hour, c.seen = o.Hour, covered{}
	}
	before := c.seen[o.Epoch]
	all := c.f.everything(o)
	contents, err := scanEvents(ctx, t, o.Key, func(text []byte, l *uploader.Line) error {
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
