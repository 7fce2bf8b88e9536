// Package restore creates data directories from an archive: [Events] restores events with their statistics, for queries; [Statistics]
// adds up only the statistics, for a wayside that continues after the loss of its disk. [Compare] compares an archive with a store and
// changes nothing.
//
// A new store is created in a separate folder and moved into the data directory when it is complete (newdir.go), so an incomplete store
// is never used.
package restore

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// Events creates a data directory in dir, which must not contain a store. The data directory contains the events from an archive, their
// statistics, and a verified copy of their objects below archive/. In its catalogue, all of the objects are archived.
func Events(ctx context.Context, from uploader.Target, dir string, o reader.CopyOptions) (*reader.Copied, error) {
	to, err := uploader.OpenTarget(ctx, filepath.Join(dir, "archive"), uploader.TargetOptions{DataDir: dir})
	if err != nil {
		return nil, err
	}
	var copied *reader.Copied
	err = newDataDir(dir, func(s *store.Store) error {
		// The objects are copied directly to their final place, so a second attempt does not have to copy them again.
		o.TempDir = dir
		if copied, err = reader.Copy(ctx, from, to, o); err != nil {
			return err
		}
		byEpoch := map[uuid.UUID][]uploader.Object{}
		for _, obj := range copied.Events {
			byEpoch[obj.Epoch] = append(byEpoch[obj.Epoch], obj)
		}
		for _, epoch := range inOrder(byEpoch) {
			objects := byEpoch[epoch]
			r := &restorer{s: s, target: to, epoch: epoch, last: map[time.Time]string{}, objects: map[string]*uploader.Object{}, dropped: map[string]uint64{}}
			if err := r.run(ctx, objects); err != nil {
				return fmt.Errorf("restore epoch %s: %w", epoch, err)
			}
		}
		return nil
	})
	return copied, err
}

// inOrder returns epochs by the time at which they began, which is the order of their IDs. The order matters because the store shows epochs
// in the order in which it received them.
func inOrder[T any](epochs map[uuid.UUID]T) []uuid.UUID {
	return slices.SortedFunc(maps.Keys(epochs), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
}

// restorer applies the events of one epoch to a store. A batch never has events from two objects of the same hour, so each block belongs
// to exactly one object, which can be named in the catalogue.
type restorer struct {
	s       *store.Store
	target  uploader.Target
	epoch   uuid.UUID
	batch   store.Batch
	last    map[time.Time]string        // by hour: the object that contains the event added last
	owners  []owner                     // every change to last, in the order of sequence numbers
	objects map[string]*uploader.Object // by key
	rows    uint64
	dropped map[string]uint64
}

// owner says which object has the events of an hour, starting with a given sequence number.
type owner struct {
	hour int64
	from uint64
	key  string
}

// ownerOf returns the key of the object that has the events of a block.
func (r *restorer) ownerOf(b *catalogue.Pending) string {
	for i := len(r.owners) - 1; i >= 0; i-- {
		if o := &r.owners[i]; o.hour == b.ID.Hour && o.from <= b.Runs[0].First {
			return o.key
		}
	}
	return ""
}

func (r *restorer) run(ctx context.Context, objects []uploader.Object) error {
	r.batch.Epoch = r.epoch
	for i := range objects {
		r.objects[objects[i].Key] = &objects[i]
	}
	err := reader.Merge(ctx, r.target, objects, func(o *uploader.Object, l *uploader.Line) error {
		before := r.last[o.Hour]
		if before != o.Key || len(r.batch.Items) == store.MaxItems {
			if err := r.flush(); err != nil {
				return err
			}
			r.last[o.Hour] = o.Key
		}
		if before != o.Key {
			r.owners = append(r.owners, owner{stats.HourOf(o.Hour), l.Seq, o.Key})
		}
		r.add(l)
		return nil
	})
	if err == nil {
		err = r.flush()
	}
	if err != nil {
		return err
	}
	if err := r.catalogue(ctx); err != nil {
		return err
	}
	ledger := store.Ledger{Epoch: r.epoch, Responses: r.rows, Recorded: r.rows, Dropped: r.dropped}
	for _, n := range r.dropped {
		ledger.Responses += n
	}
	return r.s.SetLedger(ledger)
}

func (r *restorer) add(l *uploader.Line) {
	name, e := l.Row(), l.Event()
	if e.IsResponse() {
		r.rows++
	} else {
		r.dropped[l.ErrorType] = l.Dropped // lines are in order of seq, so the last figure wins
	}
	r.batch.Items = append(r.batch.Items, store.Item{Seq: l.Seq, Host: name.Host, Method: name.Method, Label: name.Label, Event: e})
	r.batch.LastSeq = l.Seq
}

func (r *restorer) flush() error {
	if len(r.batch.Items) == 0 {
		return nil
	}
	err := r.s.Apply(&r.batch)
	r.batch.Items = r.batch.Items[:0]
	return err
}

// catalogue adds the epoch's objects to the store's catalogue as verified, so that nothing is archived a second time.
func (r *restorer) catalogue(ctx context.Context) error {
	for {
		pending, err := r.s.Pending(ctx, time.Now().Add(24*time.Hour))
		if err != nil {
			return err
		}
		plans := map[string]*catalogue.Plan{}
		for i := range pending {
			if err := r.plan(plans, &pending[i]); err != nil {
				return err
			}
		}
		if len(pending) == 0 {
			return nil
		}
		for key, p := range plans {
			if err := r.enter(ctx, key, p); err != nil {
				return err
			}
		}
	}
}

// plan adds a block to the plan of the object that has its events.
func (r *restorer) plan(plans map[string]*catalogue.Plan, b *catalogue.Pending) error {
	o := r.objects[r.ownerOf(b)]
	if o == nil {
		return fmt.Errorf("no object has the events from %d on in hour %d", b.Runs[0].First, b.ID.Hour)
	}
	p := plans[o.Key]
	if p == nil {
		p = &catalogue.Plan{
			State: catalogue.Planned, Hour: b.ID.Hour, Epoch: r.epoch, Key: o.Key, FormatVersion: uploader.FormatVersion,
			Service: o.Service, Instance: o.Instance, CreatedAt: time.Now().UTC(), ObjectBytes: uint64(o.Size),
		}
		plans[o.Key] = p
	}
	p.Blocks = append(p.Blocks, b.ID)
	p.Runs = catalogue.AppendRuns(p.Runs, b.Runs...)
	p.Rows += b.Rows
	p.Lines += b.Lines
	p.MaxTime = b.MaxTime
	return nil
}

func (r *restorer) enter(ctx context.Context, key string, p *catalogue.Plan) error {
	info, err := r.target.Stat(ctx, key)
	if err != nil {
		return err
	}
	if err := r.s.AddPlan(ctx, p); err != nil {
		return err
	}
	p.Target, p.RawSHA256 = r.target.Name(), info.Meta[uploader.MetaRawSHA256]
	_, err = fmt.Sscan(info.Meta[uploader.MetaRawBytes], &p.RawBytes)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", key, uploader.MetaRawBytes, err)
	}
	p.VerifiedAt = time.Now().UTC()
	return r.s.MarkVerified(ctx, p)
}
