package reader

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/uploader"
)

// Range is a range of recording moments, From included and To not. A zero bound is open.
type Range struct{ From, To time.Time }

// Contains reports whether t lies in the range.
func (r Range) Contains(t time.Time) bool {
	return !t.Before(r.From) && (r.To.IsZero() || t.Before(r.To))
}

// Touches reports whether any moment of the hour that begins at h lies in the range.
func (r Range) Touches(h time.Time) bool {
	return h.Add(time.Hour).After(r.From) && (r.To.IsZero() || h.Before(r.To))
}

// covers reports whether every moment of the hour that begins at h lies in the range.
func (r Range) covers(h time.Time) bool {
	return !h.Before(r.From) && (r.To.IsZero() || !h.Add(time.Hour).After(r.To))
}

// Object is one event object, as its key names it.
type Object struct {
	Key      string    `json:"key"`
	Size     int64     `json:"bytes"` // compressed
	Hour     time.Time `json:"hour"`
	Service  string    `json:"service"`
	Instance string    `json:"instance"`
	Epoch    uuid.UUID `json:"epoch"`
	First    uint64    `json:"first"` // bounds of its sequence numbers
	Last     uint64    `json:"last"`
}

// keyBytesMax is the longest key that S3 allows.
const keyBytesMax = 1024

// ErrKey says that a key is not that of an event object.
var ErrKey = errors.New("not the key of an event object")

// ParseKey takes the key of an event object apart. The error wraps [ErrKey].
func ParseKey(key string) (Object, error) {
	o := Object{Key: key}
	if len(key) > keyBytesMax {
		return o, fmt.Errorf("%w: it has %d bytes", ErrKey, len(key))
	}
	parts := strings.Split(key, "/")
	if len(parts) != 4 || parts[0] != "v1" {
		return o, fmt.Errorf("%w: %s", ErrKey, key)
	}
	var err error
	if o.Hour, err = time.Parse("dt=2006-01-02/hour=15", parts[1]+"/"+parts[2]); err != nil {
		return o, fmt.Errorf("%w: %s: %w", ErrKey, key, err)
	}
	name, found := strings.CutSuffix(parts[3], ".ndjson.gz")
	fields := strings.Split(name, "_")
	if !found || len(fields) != 4 {
		return o, fmt.Errorf("%w: %s", ErrKey, key)
	}
	first, last, _ := strings.Cut(fields[3], "-")
	if o.Service, err = url.PathUnescape(fields[0]); err == nil {
		o.Instance, err = url.PathUnescape(fields[1])
	}
	if err == nil {
		o.Epoch, err = uuid.Parse(fields[2])
	}
	if err == nil {
		o.First, err = strconv.ParseUint(first, 10, 64)
	}
	if err == nil {
		o.Last, err = strconv.ParseUint(last, 10, 64)
	}
	if err == nil && (o.First == 0 || o.Last < o.First) {
		err = fmt.Errorf("sequence numbers %d to %d", o.First, o.Last)
	}
	if err != nil {
		return o, fmt.Errorf("%w: %s: %w", ErrKey, key, err)
	}
	return o, nil
}

// daysMax is the longest range that is listed day by day; a longer one is cheaper to list as a whole.
const daysMax = 62

// List calls fn for each event object whose hour the range touches, in order of keys, which is the order of hours. Files
// that are not event objects are passed over.
func List(ctx context.Context, t uploader.Target, r Range, fn func(Object) error) error {
	n := 0
	for _, prefix := range prefixes(r) {
		err := t.List(ctx, prefix, func(info uploader.ObjectInfo) error {
			o, err := ParseKey(info.Key)
			if err != nil || !r.Touches(o.Hour) {
				return nil //nolint:nilerr // somebody else's file, which is none of our business
			}
			o.Size = info.Size
			n++
			if err := tooMany(n); err != nil {
				return err
			}
			return fn(o)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// objectsMax bounds what one command looks at, because it is held in memory: 30 instances that archive hourly take four years.
const objectsMax = 1 << 20

func tooMany(n int) error {
	if n > objectsMax {
		return fmt.Errorf("more than %d objects: give --from and --to", objectsMax)
	}
	return nil
}

// prefixes are those under which the objects of a range stand.
func prefixes(r Range) []string {
	if r.From.IsZero() || r.To.IsZero() || r.To.Sub(r.From) > daysMax*24*time.Hour {
		return []string{uploader.EventsPrefix}
	}
	var days []string
	for day := r.From.UTC().Truncate(24 * time.Hour); day.Before(r.To); day = day.Add(24 * time.Hour) {
		// "v1" must stay out of the layout: its 1 would become the month.
		days = append(days, uploader.EventsPrefix+day.Format("2006-01-02/"))
	}
	return days
}
