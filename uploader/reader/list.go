package reader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/uploader"
)

// Range is a range of recording times [From, To). A zero bound is open.
type Range struct{ From, To time.Time }

// Contains reports whether t is in the range.
func (r Range) Contains(t time.Time) bool {
	return !t.Before(r.From) && (r.To.IsZero() || t.Before(r.To))
}

// Touches reports whether any part of the hour that begins at h is in the range.
func (r Range) Touches(h time.Time) bool {
	return h.Add(time.Hour).After(r.From) && (r.To.IsZero() || h.Before(r.To))
}

// covers reports whether the whole hour that begins at h is in the range.
func (r Range) covers(h time.Time) bool {
	return !h.Before(r.From) && (r.To.IsZero() || !h.Add(time.Hour).After(r.To))
}

// daysMax is the longest range that is listed day by day. For longer ranges, one listing of everything takes fewer
// requests.
const daysMax = 62

// objectsMax limits the number of objects that one command reads, because the command keeps a list of them in memory. Thirty instances
// that archive hourly need four years to write that many objects.
const objectsMax = 1 << 20

// List calls fn for each event object whose hour overlaps the range, in the order of keys, which is also the order of hours. It skips
// files that are not event objects.
func List(ctx context.Context, t uploader.Target, r Range, fn func(uploader.Object) error) error {
	return list(ctx, t, uploader.EventsPrefix, r, fn)
}

// listStatistics is like List, but for statistics objects. fn gets the size of the statistics object and the key of the corresponding
// event object.
func listStatistics(ctx context.Context, t uploader.Target, r Range, fn func(uploader.Object) error) error {
	return list(ctx, t, uploader.StatsPrefix, r, fn)
}

func list(ctx context.Context, t uploader.Target, prefix string, r Range, fn func(uploader.Object) error) error {
	n := 0
	for _, p := range prefixes(prefix, r) {
		err := t.List(ctx, p, func(info uploader.ObjectInfo) error {
			o, err := uploader.ParseKey(uploader.EventsPrefix + strings.TrimPrefix(info.Key, prefix))
			if err != nil || !r.Touches(o.Hour) {
				return nil //nolint:nilerr // not a file that wayside has written
			}
			o.Size = info.Size
			if n++; n > objectsMax {
				return fmt.Errorf("there are more than %d objects: narrow the range with --from and --to", objectsMax)
			}
			return fn(o)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// prefixes returns the prefixes that the keys of a range's objects have.
func prefixes(prefix string, r Range) []string {
	if r.From.IsZero() || r.To.IsZero() || r.To.Sub(r.From) > daysMax*24*time.Hour {
		return []string{prefix}
	}
	var days []string
	for day := r.From.UTC().Truncate(24 * time.Hour); day.Before(r.To); day = day.Add(24 * time.Hour) {
		days = append(days, prefix+day.Format("2006-01-02/"))
	}
	return days
}

// isOf reports whether an object has the requested names. An empty name matches everything.
func isOf(wantService, wantInstance, service, instance string) bool {
	return (wantService == "" || wantService == service) && (wantInstance == "" || wantInstance == instance)
}

// Problem describes a fault in an archive.
type Problem struct {
	Key  string `json:"key,omitempty"`
	What string `json:"what"`
}

// String returns the problem on one line.
func (p Problem) String() string {
	if p.Key == "" {
		return p.What
	}
	return p.Key + ": " + p.What
}

// skippable reports whether an error concerns a single object, so the other objects can still be read.
func skippable(err error) bool {
	return (errors.Is(err, uploader.ErrDamaged) || errors.Is(err, uploader.ErrNotFound)) &&
		!errors.Is(err, uploader.ErrNewerFormat) && !errors.Is(err, errChanged)
}

// trim removes the object's key from the text of an error that will be printed after the key.
func trim(key string, err error) string {
	text := err.Error()
	for _, prefix := range []string{"read ", "look up "} {
		text = strings.TrimPrefix(text, prefix+key+": ")
	}
	return strings.TrimPrefix(text, key+": ")
}

// scan reads an event object to its end and checks each line.
func scan(ctx context.Context, t uploader.Target, key string) (*uploader.Contents, error) {
	return uploader.ScanEvents(ctx, t, key, func([]byte, *uploader.Line) error { return nil })
}
