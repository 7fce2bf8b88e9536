package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/event"
)

// events rewrites the blocks with selected events, each in its own transaction. It stops at a block that cannot be read, because that
// block may also contain selected events.
func (w *forgetting) events(ctx context.Context) error {
	decoder := block.NewDecoder()
	defer decoder.Close()
	for at := []byte{prefixBlock}; at != nil; {
		found, next, err := w.nextBlock(ctx, decoder, at)
		if err != nil {
			return err
		}
		at = next
		if found.events == 0 {
			continue
		}
		w.done.Events += found.events
		w.done.Blocks++
		w.blocks[found.id] = true
		if w.f.Count {
			continue
		}
		if err := w.s.update(func(txn *badger.Txn) error { return set(txn, blockKey(prefixBlock, found.id), found.rewritten) }); err != nil {
			return err
		}
		crash.Point("store.forget.block")
	}
	return nil
}

// blockMatch is a block with selected events.
type blockMatch struct {
	id        catalogue.BlockID
	events    uint64 // number of selected events
	rewritten []byte // the block without the paths of these events
}

// nextBlock finds the next block with selected events. It returns the key at which to continue, or nil at the end.
func (w *forgetting) nextBlock(ctx context.Context, d *block.Decoder, from []byte) (found blockMatch, next []byte, err error) {
	err = w.s.view(func(txn *badger.Txn) error {
		return each(ctx, txn, []byte{prefixBlock}, from, func(key, value []byte) error {
			if found.events > 0 {
				next = bytes.Clone(key)
				return errStop
			}
			if found.id, err = parseBlockKey(key); err != nil {
				return fmt.Errorf("%w: key of a block", ErrDamaged)
			}
			if found.events, err = w.countSelected(d, found.id, value); err != nil || found.events == 0 {
				return err
			}
			found.rewritten, err = w.rewrite(d, found.id, value)
			return err
		})
	})
	return found, next, err
}

// countSelected returns the number of selected events in a block.
func (w *forgetting) countSelected(d *block.Decoder, id catalogue.BlockID, value []byte) (n uint64, err error) {
	if err := d.Open(id, value); err != nil {
		return 0, err
	}
	err = d.Each(func(_ uint64, key uint32, e *event.Event) error {
		k := d.Keys()[key]
		if row, path := w.selects(k.Host, k.Method, k.Label, e); row || path {
			n++
		}
		return nil
	})
	return n, err
}

// rewrite returns a block without the paths of selected events. The header must not change by a single byte, because
// pending blocks have a copy of it and plans agree with it.
func (w *forgetting) rewrite(d *block.Decoder, id catalogue.BlockID, value []byte) ([]byte, error) {
	if err := d.Open(id, value); err != nil {
		return nil, err
	}
	encoder := w.s.apply.encoder // allowed because writeMu is held
	err := block.Rewrite(encoder, d, func(it *Item) bool {
		row, path := w.selects(it.Host, it.Method, it.Label, &it.Event)
		if path {
			it.Event.Path = []byte(w.f.Path)
		}
		if row {
			it.Label = otherLabel
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	encoder.Header.RawBytes = d.Header.RawBytes
	return encoder.Append(nil), nil
}

// rowSelected calls Forget.Row and remembers the result for each name. The arguments may point into a block.
func (w *forgetting) rowSelected(host, method, label string) bool {
	if label == otherLabel {
		return false
	}
	selected, known := w.selected[catalogue.RowName{Host: host, Method: method, Label: label}]
	if !known {
		name := catalogue.RowName{Host: host, Method: method, Label: label}.Clone()
		selected = w.f.Row(name.Host, name.Method, name.Label)
		w.selected[name] = selected
	}
	return selected
}

// selects reports whether an event's row is selected, and whether its path must be replaced.
func (w *forgetting) selects(host, method, label string, e *event.Event) (row, path bool) {
	if !e.IsResponse() {
		return false, false
	}
	row = w.rowSelected(host, method, label)
	path = len(e.Path) > 0 && (row || w.f.Event(host, method, e.Path))
	return row, path
}

// plans finds archive objects that contain forgotten paths, and sets the plans of those that must be written again back to planned.
func (w *forgetting) plans(ctx context.Context) error {
	var again []*catalogue.Plan
	err := w.s.Catalogue.plans(ctx, []byte{prefixPlan}, nil, func(p *catalogue.Plan) error {
		if p.State == catalogue.Planned || !p.ExpiredAt.IsZero() {
			return nil // the object has not been written yet, or no longer exists
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

// holdsAll reports whether every block of a plan is still in the store. A crash may have interrupted the deletion of
// its blocks.
func (w *forgetting) holdsAll(p *catalogue.Plan) (bool, error) {
	whole := true
	err := w.s.view(func(txn *badger.Txn) error {
		for _, id := range p.Blocks {
			found, err := has(txn, blockKey(prefixBlock, id))
			if err != nil {
				return err
			}
			whole = whole && found
		}
		return nil
	})
	return whole, err
}

// reopen sets a verified plan back to planned. The plan keeps its target, because the object must be replaced there.
func (w *forgetting) reopen(p *catalogue.Plan) error {
	p.State = catalogue.Planned
	p.RawBytes, p.ObjectBytes, p.RawSHA256, p.ObjectSHA256 = 0, 0, "", ""
	p.StatsRows, p.StatsBytes, p.StatsSHA256 = 0, 0, ""
	p.VerifiedAt = time.Time{}
	next := w.s.current()
	next.totals.Archived -= p.Rows
	return w.s.movePlan(catalogue.Verified, p, next, nil)
}
