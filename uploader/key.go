package uploader

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// Common prefixes of the keys of all event objects and of all statistics objects.
const (
	EventsPrefix = "v1/dt="
	StatsPrefix  = "v1/stats/dt="
)

// HourPrefix returns the common prefix of the keys of an hour's objects. Hours are counted from 1970-01-01T00:00Z.
func HourPrefix(hour int64) string {
	// "v1" must not be part of the layout, because the 1 in it would stand for the month.
	return "v1/" + stats.HourStart(hour).Format("dt=2006-01-02/hour=15/")
}

// eventsKey returns the key of a plan's event object. The first sequence number is enough to make the key unique within an hour and
// epoch, because no number is in two plans.
func eventsKey(p *catalogue.Plan) string {
	k := []byte(HourPrefix(p.Hour))
	k = append(catalogue.AppendName(k, p.Service), '_')
	k = append(catalogue.AppendName(k, p.Instance), '_')
	k = append(k, p.Epoch.String()...)
	k = append(k, '_')
	k = strconv.AppendUint(k, p.Runs[0].First, 10)
	k = append(k, '-')
	k = strconv.AppendUint(k, p.Runs[len(p.Runs)-1].Last, 10)
	return string(append(k, objectSuffix...))
}

// StatsKey returns the key of the statistics object that belongs to an event object.
func StatsKey(key string) string { return StatsPrefix + strings.TrimPrefix(key, EventsPrefix) }

// Object describes one event object, based on its key.
type Object struct {
	Key      string    `json:"key"`
	Size     int64     `json:"bytes"` // compressed size
	Hour     time.Time `json:"hour"`
	Service  string    `json:"service"`
	Instance string    `json:"instance"`
	Epoch    uuid.UUID `json:"epoch"`
	First    uint64    `json:"first"` // bounds of its sequence numbers
	Last     uint64    `json:"last"`
}

// keyBytesMax is the maximum length of a key in S3.
const keyBytesMax = 1024

// ParseKey reads the key of an event object.
func ParseKey(key string) (Object, error) {
	o := Object{Key: key}
	if err := o.parse(); err != nil {
		return o, fmt.Errorf("%.200q is not the key of an event object: %w", key, err)
	}
	return o, nil
}

func (o *Object) parse() error {
	parts := strings.Split(strings.TrimSuffix(o.Key, objectSuffix), "/")
	if len(o.Key) > keyBytesMax || len(parts) != 4 || parts[0] != "v1" || !strings.HasSuffix(o.Key, objectSuffix) {
		return errors.New("want v1/dt=DATE/hour=HOUR/NAME" + objectSuffix)
	}
	fields := strings.Split(parts[3], "_")
	if len(fields) != 4 {
		return errors.New("want SERVICE_INSTANCE_EPOCH_FIRST-LAST as its name")
	}
	first, last, _ := strings.Cut(fields[3], "-")
	var errs [6]error
	o.Hour, errs[0] = time.Parse("dt=2006-01-02/hour=15", parts[1]+"/"+parts[2])
	o.Service, errs[1] = url.PathUnescape(fields[0])
	o.Instance, errs[2] = url.PathUnescape(fields[1])
	o.Epoch, errs[3] = uuid.Parse(fields[2])
	o.First, errs[4] = strconv.ParseUint(first, 10, 64)
	o.Last, errs[5] = strconv.ParseUint(last, 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	if o.First == 0 || o.Last < o.First {
		return fmt.Errorf("sequence numbers %d to %d", o.First, o.Last)
	}
	return nil
}
