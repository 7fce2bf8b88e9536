package store

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
)

// importChunk is the maximum number of blocks from which one transaction of ImportObject removes events.
const importChunk = 16

// ImportObject adds an archive object that another store wrote to the catalogue. p.Runs are the exact sequence numbers in the object;
// p.Rows and p.Lines are its numbers of rows and lines. If pending blocks of this store have events of the object, ImportObject removes
// these events from the blocks, because they have already been archived and must not be archived again. The same transaction counts these
// events as archived and deleted; the rows in which they are counted stay. p.Elsewhere is set to the number of responses in the object
// that this store never counted. Without p.Runs, ImportObject assumes that the object has none of this store's events.
//
// Importing an object again, with the ID that p was given, removes those of its events that the store has received since the last import.
// The error wraps [ErrNotCheckpointed] if the object has events that have only just been applied; in that case, try again.
func (c *Catalogue) ImportObject(ctx context.Context, p *catalogue.Plan) error {
	// A replay folds events from their blocks, so the rows must include an event before it is removed from its block.
	if err := c.rows.Checkpoint(); err != nil {
		return err
	}
	end, err := c.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := c.importObject(ctx, p); err != nil {
		return fmt.Errorf("import archive object %s: %w", p.Key, err)
	}
	return nil
}

func (c *Catalogue) importObject(ctx context.Context, p *catalogue.Plan) error {
	decoder := block.NewDecoder()
	defer decoder.Close()
	blocks, err := c.overlapping(p)
	if err != nil {
		return err
	}
	p.State, p.Imported, p.Blocks = catalogue.Deleted, true, nil
	if p.ID == 0 {
		p.Elsewhere = p.Rows
	}
	for first := true; first || len(blocks) > 0; first = false {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := fitting(min(importChunk, len(blocks)), func(n int) error { return c.importFrom(decoder, p, blocks[:n]) })
		if err != nil {
			return err
		}
		blocks = blocks[n:]
	}
	return nil
}

// overlapping lists the pending blocks that may contain events of an object.
func (c *Catalogue) overlapping(p *catalogue.Plan) (ids []catalogue.BlockID, err error) {
	err = c.view(func(txn *badger.Txn) error {
		return eachPending(context.Background(), txn, appendHourKey(nil, prefixPending, p.Hour), func(id catalogue.BlockID, h *block.Header) error {
			if h.Epoch != p.Epoch || !catalogue.Overlap(h.Runs, p.Runs) {
				return nil
			}
			ids = append(ids, id)
			return c.rows.includes(id)
		})
	})
	return ids, err
}

// importFrom removes the object's events from some blocks, and writes the object's plan, in one transaction.
func (c *Catalogue) importFrom(decoder *block.Decoder, p *catalogue.Plan, ids []catalogue.BlockID) error {
	next := c.accounts.current()
	stored := withoutRuns(*p)
	if stored.ID == 0 {
		next.nextPlan++
		stored.ID = next.nextPlan
	}
	taken := uint64(0)
	crash.Point("store.adopt.before")
	err := c.update(func(txn *badger.Txn) error {
		for _, id := range ids {
			n, err := c.takeEvents(txn, decoder, id, p)
			if err != nil {
				return err
			}
			taken += n
		}
		if taken > stored.Elsewhere {
			return fmt.Errorf("%w: %d of its responses were never counted here, but blocks hold %d of them", ErrInvalid, stored.Elsewhere, taken)
		}
		stored.Elsewhere -= taken
		next.totals.Archived += taken
		next.totals.Deleted += taken
		if err := c.setPlan(txn, &stored); err != nil {
			return err
		}
		return next.write(txn)
	})
	if err != nil {
		return err
	}
	crash.Point("store.adopt.after")
	c.accounts.setCounters(next)
	p.ID, p.Elsewhere = stored.ID, stored.Elsewhere
	return nil
}

// takeEvents removes the object's events from a block, and returns how many of them were responses. The block keeps its ID and its other
// events; if it has no others, it is deleted. The caller holds writeMu.
func (c *Catalogue) takeEvents(txn *badger.Txn, d *block.Decoder, id catalogue.BlockID, p *catalogue.Plan) (taken uint64, err error) {
	if err := openBlock(txn, d, id, p.Epoch); err != nil {
		return 0, err
	}
	err = block.Rewrite(c.encoder, d, func(it *block.Item) bool {
		if !catalogue.Contains(p.Runs, it.Seq) {
			return true
		}
		if it.Event.IsResponse() {
			taken++
		}
		return false
	})
	if err != nil {
		return 0, err
	}
	if c.encoder.Header.Records == 0 {
		if err := deleteKey(txn, blockKey(prefixBlock, id)); err != nil {
			return 0, err
		}
		return taken, deleteKey(txn, blockKey(prefixPending, id))
	}
	if err := set(txn, blockKey(prefixBlock, id), c.encoder.Append(nil)); err != nil {
		return 0, err
	}
	return taken, set(txn, blockKey(prefixPending, id), c.encoder.Header.Append(nil))
}
