package reader

import (
	"context"
	"strconv"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/uploader"
)

// The code in this file collects what a rebuild finds out about each epoch besides statistics: the last event in the archive, the dropped
// responses, and the catalogue entries for the objects.

// EpochSum describes the part of an epoch that is in the archive.
type EpochSum struct {
	LastSeq   uint64
	Responses uint64
	Drops     map[int64]stats.Drops // drop records by hour; they are lost when their objects expire
	Plans     []catalogue.Plan      // catalogue entries of the epoch's objects
}

// Dropped returns, for each reason, the number in the last drop record with that reason.
func (e *EpochSum) Dropped() map[string]uint64 {
	last, out := stats.Drops{}, map[string]uint64{}
	for _, drops := range e.Drops {
		last.Merge(drops)
	}
	for reason, d := range last {
		out[reason] = d.Responses
	}
	return out
}

// dropsAt returns the drop records of an hour.
func (e *EpochSum) dropsAt(hour time.Time) stats.Drops {
	h := stats.HourOf(hour)
	if e.Drops[h] == nil {
		e.Drops[h] = stats.Drops{}
	}
	return e.Drops[h]
}

// drop adds a drop record. The number in a drop record counts from the beginning of the epoch, so only the latest record matters; objects
// are not read in the order of their events.
func (e *EpochSum) drop(hour time.Time, l *uploader.Line) {
	e.dropsAt(hour).Note(l.ErrorType, stats.Drop{Seq: l.Seq, Responses: l.Dropped})
}

// epoch returns the sum of the object's epoch.
func (b *rebuilder) epoch(p *pair) *EpochSum {
	sum := b.out.Epochs[p.Epoch]
	if sum == nil {
		sum = &EpochSum{Drops: map[int64]stats.Drops{}}
		b.out.Epochs[p.Epoch] = sum
	}
	return sum
}

// enter adds the object to its epoch's sum, with a catalogue entry. Statistics objects of older versions have no drop records. In that
// case, if the metadata of the event object says that there are more lines than responses, enter reads the drop records from the event
// object.
func (b *rebuilder) enter(ctx context.Context, p *pair, c *uploader.Contents, meta map[string]string, fromEvents bool, skip uint64) error {
	sum := b.epoch(p)
	sum.Responses += c.Rows - skip
	sum.LastSeq = max(sum.LastSeq, p.Last)
	plan := b.plan(p, c, meta, fromEvents)
	plan.Target = uploader.NameAt(ctx, b.t, p.Key)
	plan.Imported, plan.Elsewhere = skip > 0, skip
	sum.Plans = append(sum.Plans, plan)
	if !fromEvents && c.Drops != nil {
		sum.dropsAt(p.Hour).Merge(c.Drops)
		return nil
	}
	if fromEvents || !p.events || plan.Lines <= c.Rows {
		return nil
	}
	_, err := uploader.ScanEvents(ctx, b.t, p.Key, func(_ []byte, l *uploader.Line) error {
		if l.IsDrop() {
			sum.drop(p.Hour, l)
		}
		return nil
	})
	if skippable(err) { // the number of the object's responses is still known
		b.problem(p, "its drop records are not counted: ", err)
		return nil
	}
	return err
}

// plan returns the catalogue entry of an object, with the fields that are known.
func (b *rebuilder) plan(p *pair, c *uploader.Contents, meta map[string]string, fromEvents bool) catalogue.Plan {
	plan := catalogue.Plan{
		State: catalogue.Deleted, Hour: stats.HourOf(p.Hour), Epoch: p.Epoch, Key: p.Key, FormatVersion: uploader.FormatVersion,
		Service: p.Service, Instance: p.Instance, Rows: c.Rows, MaxTime: p.Hour, ObjectBytes: uint64(max(p.Size, 0)),
	}
	if fromEvents {
		plan.ObjectSHA256 = c.SHA256
	} else {
		plan.StatsKey, plan.StatsRows, plan.StatsBytes, plan.StatsSHA256 = uploader.StatsKey(p.Key), c.Lines, c.Bytes, c.SHA256
		if !p.events {
			plan.ExpiredAt = p.Hour // the actual time is unknown
			return plan
		}
	}
	plan.Lines, _ = strconv.ParseUint(meta[uploader.MetaLines], 10, 64)
	plan.RawBytes, _ = strconv.ParseUint(meta[uploader.MetaRawBytes], 10, 64)
	plan.RawSHA256 = meta[uploader.MetaRawSHA256]
	plan.Runs, _ = uploader.ParseRuns(meta[uploader.MetaRuns]) // nil if they are unknown
	return plan
}
