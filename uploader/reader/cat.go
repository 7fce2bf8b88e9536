package reader

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

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
	Drops             bool            // drop records too, where nothing but time, service and instance is asked for
}

// wantsObject reports whether an object may hold wanted events.
func (f *Filter) wantsObject(o *Object) bool {
	return f.Touches(o.Hour) && (f.Service == "" || f.Service == o.Service) && (f.Instance == "" || f.Instance == o.Instance)
}

// everything reports whether every line of an object that is wanted is wanted.
func (f *Filter) everything(o *Object) bool {
	return f.covers(o.Hour) && f.anyResponse() && f.Drops
}

func (f *Filter) anyResponse() bool { return f.Method == "" && f.Path == "" && f.Status == nil }

func (f *Filter) wants(l *uploader.Line) bool {
	if !f.Contains(l.Time) {
		return false
	}
	if l.Kind == "drop" {
		return f.Drops && f.anyResponse()
	}
	return (f.Method == "" || strings.EqualFold(f.Method, l.Method)) && f.Status.Has(l.Status) && f.wantsPath(l)
}

func (f *Filter) wantsPath(l *uploader.Line) bool {
	if prefix, found := strings.CutSuffix(f.Path, "*"); found {
		return strings.HasPrefix(l.Path, prefix) || strings.HasPrefix(l.Template, prefix)
	}
	return f.Path == "" || f.Path == l.Path || f.Path == l.Template
}

// errEnough ends a walk that has found what it wanted.
var errEnough = errors.New("enough")

// Cat writes the lines that the filter wants to w, as they stand in the archive: hour by hour, within an hour object by
// object. limit ends it after so many lines; 0 means no limit. It returns the number of lines written.
func Cat(ctx context.Context, t uploader.Target, f Filter, w io.Writer, limit uint64) (uint64, error) {
	out := bufio.NewWriterSize(w, readBytes)
	var written uint64
	err := List(ctx, t, f.Range, func(o Object) error {
		if !f.wantsObject(&o) {
			return nil
		}
		all := f.everything(&o)
		var line uploader.Line
		_, err := Scan(ctx, t, o.Key, func(text []byte) error {
			if !all {
				line = uploader.Line{}
				if err := json.Unmarshal(text, &line); err != nil {
					return err
				}
				if !f.wants(&line) {
					return nil
				}
			}
			if _, err := out.Write(text); err != nil {
				return err
			}
			if err := out.WriteByte('\n'); err != nil {
				return err
			}
			written++
			if limit > 0 && written >= limit {
				return errEnough
			}
			return nil
		})
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return written, errors.Join(err, out.Flush())
}
