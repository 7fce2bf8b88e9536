package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/event"
)

// events writes the blocks with selected events anew, each in a transaction of its own. A block that cannot be read stops
// it: nobody could say what is in there.
func (w *forgetting) events(ctx context.Context) error {
	decoder, err := newBlockDecoder()
	if err != nil {
		return err
	}
	defer decoder.close()
	for from := []byte{prefixBlock}; from != nil; {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		var id catalogue.BlockID
		var value []byte
		var n uint64
		if id, value, n, from, err = w.nextBlock(decoder, from); err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		w.done.Events += n
		w.done.Blocks++
		w.blocks[id] = true
		if w.f.Count {
			continue
		}
		err := w.s.update(func(txn *badger.Txn) error { return set(txn, blockKey(prefixBlock, id), value) })
		if err != nil {
			return err
		}
		crash.Point("store.forget.block")
	}
	return nil
}

// nextBlock finds the next block with selected events, and returns it written anew with their number, and the key to go on
// from; nil at the end.
func (w *forgetting) nextBlock(d *blockDecoder, from []byte) (id catalogue.BlockID, value []byte, n uint64, next []byte, err error) {
	err = w.s.view(func(txn *badger.Txn) error {
		return each(txn, []byte{prefixBlock}, from, func(key, block []byte) error {
			if n > 0 {
				next = slices.Clone(key)
				return errStop
			}
			if id, err = parseBlockKey(key); err != nil {
				return fmt.Errorf("%w: key of a block", ErrDamaged)
			}
			value, n, err = w.rewrite(d, id, block)
			return err
		})
	})
	if err == errStop { //nolint:errorlint // it is not wrapped
		err = nil
	}
	return id, value, n, next, err
}

// rewrite returns a block without the selected paths and the number of events that had them. The block's header stays the
// same to the byte: the marks of blocks that wait for a plan, and the plans, say what it says.
func (w *forgetting) rewrite(d *blockDecoder, id catalogue.BlockID, block []byte) (value []byte, n uint64, err error) {
	if err := d.open(id, block); err != nil {
		return nil, 0, err
	}
	var items []Item
	err = d.each(id, func(seq uint64, key uint32, e *event.Event) error {
		k := d.columns.keys[key]
		it := (&StoredEvent{Seq: seq, Host: k.Host, Method: k.Method, Label: k.Label, Event: *e}).clone()
		item := Item{Seq: seq, Host: it.Host, Method: it.Method, Label: it.Label, Event: it.Event}
		if w.blank(&item) {
			n++
		}
		items = append(items, item)
		return nil
	})
	if err != nil || n == 0 {
		return nil, 0, err
	}
	meta := d.meta
	encoder := w.s.apply.encoder // writeMu is held
	encoder.begin(meta.epoch, time.UnixMicro(meta.appliedAt))
	keys := map[rowKey]uint32{}
	for i := range items {
		k := rowKey{Host: items[i].Host, Method: items[i].Method, Label: items[i].Label}
		number, known := keys[k]
		if !known {
			number = uint32(len(keys)) //nolint:gosec // at most one per event
			keys[k] = number
		}
		encoder.add(&items[i], number)
	}
	encoder.meta.rawBytes = meta.rawBytes
	return encoder.finish(nil), n, nil
}

// blank takes the path, and the label if it is selected, from an event. It reports whether there was anything to take.
func (w *forgetting) blank(it *Item) bool {
	if !it.Event.IsResponse() {
		return false
	}
	row := it.Label != otherLabel && w.f.Row(it.Host, it.Method, it.Label)
	path := len(it.Event.Path) > 0 && (row || w.f.Event(it.Host, it.Method, it.Event.Path))
	if path {
		it.Event.Path = []byte(w.f.Path)
	}
	if row {
		it.Label = otherLabel
	}
	return row || path
}

// plans finds the archive's objects that have what was forgotten, and sets those back that are to be written again.
func (w *forgetting) plans(ctx context.Context) error {
	var again []*catalogue.Plan
	err := w.s.plans(ctx, []byte{prefixPlan}, func(p *catalogue.Plan) error {
		if p.State == catalogue.Planned || !p.ExpiredAt.IsZero() {
			return nil // will be written from the events as they are now, or is gone
		}
		o := catalogue.ForgottenObject{Key: p.Key, Target: p.Target, Holds: "certain"}
		switch {
		case p.State == catalogue.Verified && slices.ContainsFunc(p.Blocks, func(id catalogue.BlockID) bool { return w.blocks[id] }):
			if whole, err := w.holdsAll(p); err != nil {
				return err
			} else if w.f.Reopen && whole {
				o.Holds = "reopened"
				again = append(again, p)
			}
		case p.State == catalogue.Deleted && w.hours[p.Hour]:
			o.Holds = "possible"
		case p.State == catalogue.Deleted:
			w.done.ObjectsUnknown++
			return nil
		default:
			return nil
		}
		w.done.Objects = append(w.done.Objects, o)
		return nil
	})
	if err != nil || w.f.Count {
		return err
	}
	for _, p := range again {
		if err := w.reopen(p); err != nil {
			return err
		}
	}
	return nil
}

// holdsAll reports whether every block of a plan is still here: retention may have been interrupted.
func (w *forgetting) holdsAll(p *catalogue.Plan) (bool, error) {
	whole := true
	err := w.s.view(func(txn *badger.Txn) error {
		for _, id := range p.Blocks {
			found, err := get(txn, blockKey(prefixBlock, id), func([]byte) error { return nil })
			if err != nil {
				return err
			}
			whole = whole && found
		}
		return nil
	})
	return whole, err
}

// reopen makes a verified plan one that is to be executed.
func (w *forgetting) reopen(p *catalogue.Plan) error {
	s := w.s
	p.State = catalogue.Planned
	p.RawBytes, p.ObjectBytes, p.RawSHA256, p.ObjectSHA256 = 0, 0, "", "" // its target stays: what is there must be replaced
	p.StatsRows, p.StatsBytes, p.StatsSHA256 = 0, 0, ""
	p.VerifiedAt = time.Time{}
	s.mu.Lock()
	next := s.state
	s.mu.Unlock()
	next.totals.Archived -= p.Rows
	if err := s.movePlan(catalogue.Verified, p, next); err != nil {
		return err
	}
	s.setState(next)
	return nil
}
