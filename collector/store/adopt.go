package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/event"
)

// adoptChunk is the largest number of blocks that one transaction of Adopt takes events out of.
const adoptChunk = 16

// Adopt enters an object that stands in the archive and was made from another store, with the exact runs of its events in
// p.Runs and their number in p.Rows and p.Lines. Events of it that this store holds and has not planned are taken out of
// their blocks: they are archived already, and will not be again. In the same transaction they count as archived and
// deleted here; the rows, which count them, stay. p.Elsewhere is set to the responses of the object that this store never
// counted. Without p.Runs, the object is entered as one that holds nothing of what is here.
//
// Adopting again, with the ID that p was given, takes what has come since. The error wraps [ErrNotCheckpointed] if the
// object holds events that were applied a moment ago: try again.
func (s *Store) Adopt(ctx context.Context, p *catalogue.Plan) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	// A replay folds events from their blocks, so no event may leave its block before the rows include it.
	if err := s.checkpoint(); err != nil {
		return err
	}
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if err := s.adopt(ctx, p); err != nil {
		return fmt.Errorf("enter archive object %s: %w", p.Key, err)
	}
	return nil
}

func (s *Store) adopt(ctx context.Context, p *catalogue.Plan) error {
	decoder, err := newBlockDecoder()
	if err != nil {
		return err
	}
	defer decoder.close()
	blocks, err := s.overlapping(p)
	if err != nil {
		return err
	}
	p.State, p.Adopted, p.Blocks = catalogue.Deleted, true, nil
	if p.ID == 0 {
		p.Elsewhere = p.Rows
	}
	for first := true; first || len(blocks) > 0; first = false {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		n, err := fitting(min(adoptChunk, len(blocks)), func(n int) error { return s.adoptFrom(decoder, p, blocks[:n]) })
		if err != nil {
			return err
		}
		blocks = blocks[n:]
	}
	return nil
}

// overlapping lists the blocks that wait for a plan and hold events of an object.
func (s *Store) overlapping(p *catalogue.Plan) ([]catalogue.BlockID, error) {
	s.mu.Lock()
	checkpointed := s.checkpointed
	s.mu.Unlock()
	var ids []catalogue.BlockID
	err := s.view(func(txn *badger.Txn) error {
		var meta blockMeta
		return each(txn, appendHourKey(nil, prefixUnplanned, p.Hour), nil, func(key, value []byte) error {
			id, err := parseBlockKey(key)
			if err != nil || !meta.read(&reader{rest: value}) {
				return fmt.Errorf("%w: mark of block %x", ErrDamaged, key)
			}
			if meta.epoch != p.Epoch || !catalogue.Overlap(meta.runs, p.Runs) {
				return nil
			}
			if id.Batch > checkpointed {
				return fmt.Errorf("%w: batch %d, checkpoint %d", ErrNotCheckpointed, id.Batch, checkpointed)
			}
			ids = append(ids, id)
			return nil
		})
	})
	return ids, err
}

// adoptFrom takes the object's events out of some blocks, and enters the object, in one transaction.
func (s *Store) adoptFrom(decoder *blockDecoder, p *catalogue.Plan, ids []catalogue.BlockID) error {
	s.mu.Lock()
	next := s.state
	s.mu.Unlock()
	stored := withoutRuns(*p)
	if stored.ID == 0 {
		next.nextPlan++
		stored.ID = next.nextPlan
	}
	taken := uint64(0)
	crash.Point("store.adopt.before")
	err := s.update(func(txn *badger.Txn) error {
		for _, id := range ids {
			n, err := s.takeOut(txn, decoder, id, p)
			if err != nil {
				return err
			}
			taken += n
		}
		if taken > stored.Elsewhere {
			return fmt.Errorf("%w: it holds %d responses that are not counted here, and blocks hold %d of them", ErrInvalid, stored.Elsewhere, taken)
		}
		stored.Elsewhere -= taken
		next.totals.Archived += taken
		next.totals.Deleted += taken
		if err := s.setPlan(txn, &stored); err != nil {
			return err
		}
		return set(txn, []byte{prefixState}, next.encode())
	})
	if err != nil {
		return err
	}
	crash.Point("store.adopt.after")
	s.setState(next)
	p.ID, p.Elsewhere = stored.ID, stored.Elsewhere
	return nil
}

// takeOut removes the object's events from a block and returns how many of them were responses. The block keeps its name and
// the rest; without a rest it goes. The caller holds writeMu, to which the encoder belongs.
func (s *Store) takeOut(txn *badger.Txn, d *blockDecoder, id catalogue.BlockID, p *catalogue.Plan) (taken uint64, err error) {
	found, err := get(txn, blockKey(prefixBlock, id), func(v []byte) error { return d.open(id, v) })
	if err != nil {
		return 0, err
	}
	if !found || d.meta.epoch != p.Epoch {
		return 0, fmt.Errorf("%w: block %s of epoch %s is missing", ErrDamaged, blockName(id), p.Epoch)
	}
	e := s.apply.encoder
	e.begin(p.Epoch, time.UnixMicro(d.meta.appliedAt))
	keys := make([]rowKey, len(d.columns.keys))
	for i, k := range d.columns.keys {
		keys[i] = rowKey{Host: strings.Clone(k.Host), Method: strings.Clone(k.Method), Label: strings.Clone(k.Label)}
	}
	err = d.each(id, func(seq uint64, key uint32, ev *event.Event) error {
		if catalogue.Contains(p.Runs, seq) {
			if ev.IsResponse() {
				taken++
			}
			return nil
		}
		e.add(&Item{Seq: seq, Host: keys[key].Host, Method: keys[key].Method, Label: keys[key].Label, Event: *ev}, key)
		return nil
	})
	if err != nil {
		return 0, err
	}
	if e.meta.records == 0 {
		if err := deleteKey(txn, blockKey(prefixBlock, id)); err != nil {
			return 0, err
		}
		return taken, deleteKey(txn, blockKey(prefixUnplanned, id))
	}
	if err := set(txn, blockKey(prefixBlock, id), e.finish(nil)); err != nil {
		return 0, err
	}
	return taken, set(txn, blockKey(prefixUnplanned, id), e.meta.append(nil))
}
