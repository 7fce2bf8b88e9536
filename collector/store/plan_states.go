package store

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
)

// MarkVerified durably records that a plan's object has been read back and found correct, together with the object's figures from p. The
// same transaction counts the plan's rows as archived. Marking a plan again changes nothing. The error wraps [ErrNoPlan] if there is no
// such plan.
func (c *Catalogue) MarkVerified(ctx context.Context, p *catalogue.Plan) error {
	end, err := c.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := c.markVerified(p); err != nil {
		return fmt.Errorf("mark plan %d: %w", p.ID, err)
	}
	return nil
}

func (c *Catalogue) markVerified(p *catalogue.Plan) error {
	stored, err := c.plan(catalogue.Planned, p.ID)
	if err != nil {
		return err
	}
	if stored == nil {
		return c.alreadyMarked(p)
	}
	if stored.Key != p.Key {
		return fmt.Errorf("%w: key %s, but the stored plan has %s", ErrInvalid, p.Key, stored.Key)
	}
	// The stored plan is kept, and only the properties of the object are taken from p.
	stored.State = catalogue.Verified
	stored.Target, stored.RawBytes, stored.ObjectBytes = p.Target, p.RawBytes, p.ObjectBytes
	stored.RawSHA256, stored.ObjectSHA256, stored.VerifiedAt = p.RawSHA256, p.ObjectSHA256, p.VerifiedAt
	stored.Observed = p.Observed
	stored.StatsRows, stored.StatsBytes, stored.StatsSHA256 = p.StatsRows, p.StatsBytes, p.StatsSHA256
	if stored.VerifiedAt.IsZero() {
		stored.VerifiedAt = c.o.Now()
	}
	next := c.accounts.current()
	next.totals.Archived += stored.Rows

	crash.Point("store.mark.before")
	if err := c.movePlan(catalogue.Planned, stored, next, nil); err != nil {
		return err
	}
	crash.Point("store.mark.after")
	p.State, p.VerifiedAt = stored.State, stored.VerifiedAt
	return nil
}

func (c *Catalogue) alreadyMarked(p *catalogue.Plan) error {
	for _, state := range [...]catalogue.State{catalogue.Verified, catalogue.Deleted} {
		stored, err := c.plan(state, p.ID)
		if err != nil {
			return err
		}
		if stored != nil && stored.Key == p.Key {
			p.State, p.VerifiedAt = stored.State, stored.VerifiedAt
			return nil
		}
	}
	return ErrNoPlan
}

// movePlan stores a plan under its new state, with the new counters, in one transaction that also deletes some blocks. The caller holds
// writeMu.
func (c *Catalogue) movePlan(from catalogue.State, p *catalogue.Plan, next counters, blocks []catalogue.BlockID) error {
	old, err := planKey(from, p.ID)
	if err != nil {
		return err
	}
	err = c.update(func(txn *badger.Txn) error {
		if err := deleteBlocks(txn, blocks); err != nil {
			return err
		}
		if err := deleteKey(txn, old); err != nil {
			return err
		}
		if err := c.setPlan(txn, p); err != nil {
			return err
		}
		return next.write(txn)
	})
	if err == nil {
		c.accounts.setCounters(next)
	}
	return err
}

// DeleteBlocks deletes the events of a verified plan. The transaction that deletes the last of its blocks also writes the plan's new
// state and counts its rows as deleted. After a crash before that, the plan must be deleted again. Deleting a plan again changes nothing.
// The error wraps [ErrNotVerified] if the plan is not verified in the catalogue, whatever the state in p, and [ErrNotCheckpointed] if the
// stored rows do not include all of its events yet.
func (c *Catalogue) DeleteBlocks(ctx context.Context, p *catalogue.Plan) error {
	end, err := c.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := c.deletePlan(ctx, p); err != nil {
		return fmt.Errorf("delete blocks of plan %d: %w", p.ID, err)
	}
	return nil
}

func (c *Catalogue) deletePlan(ctx context.Context, p *catalogue.Plan) error {
	stored, err := c.deletable(p)
	if err != nil || stored == nil {
		return err
	}
	crash.Point("store.delete.before")
	blocks := stored.Blocks
	for ; len(blocks) > deleteChunk; blocks = blocks[deleteChunk:] {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.update(func(txn *badger.Txn) error { return deleteBlocks(txn, blocks[:deleteChunk]) }); err != nil {
			return err
		}
		crash.Point("store.delete.chunk")
	}
	next := c.accounts.current()
	next.totals.Deleted += stored.Rows
	stored.State, stored.DeletedAt, stored.Blocks = catalogue.Deleted, c.o.Now(), nil
	if err := c.movePlan(catalogue.Verified, stored, next, blocks); err != nil {
		return err
	}
	crash.Point("store.delete.after")
	c.space.noteDeleted(stored.Lines)
	p.State, p.DeletedAt = stored.State, stored.DeletedAt
	return nil
}

// deletable returns the stored plan if its blocks may be deleted, or nil if they have already been deleted.
func (c *Catalogue) deletable(p *catalogue.Plan) (*catalogue.Plan, error) {
	stored, err := c.plan(catalogue.Verified, p.ID)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		if done, err := c.plan(catalogue.Deleted, p.ID); err != nil || done != nil {
			return nil, err
		}
		return nil, ErrNotVerified
	}
	for _, id := range stored.Blocks {
		if err := c.rows.includes(id); err != nil {
			return nil, err
		}
	}
	return stored, nil
}

// includes returns an error that wraps [ErrNotCheckpointed] unless every stored row includes the events of a block.
func (s *Statistics) includes(id catalogue.BlockID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id.Batch > s.checkpointed {
		s.awaited = true
		return fmt.Errorf("%w: batch %d, checkpoint %d", ErrNotCheckpointed, id.Batch, s.checkpointed)
	}
	return nil
}

func deleteBlocks(txn *badger.Txn, ids []catalogue.BlockID) error {
	for _, id := range ids {
		if err := deleteKey(txn, blockKey(prefixBlock, id)); err != nil {
			return err
		}
	}
	return nil
}

// MarkExpired durably records that a plan's object has been removed from the archive. Marking a plan again changes nothing. The error
// wraps [ErrNotVerified] if the plan's events are still in the store.
func (c *Catalogue) MarkExpired(ctx context.Context, p *catalogue.Plan) error {
	end, err := c.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	stored, err := c.plan(catalogue.Deleted, p.ID)
	if err == nil && (stored == nil || stored.Key != p.Key) {
		err = ErrNotVerified
	}
	if err == nil {
		stored.ExpiredAt = p.ExpiredAt
		err = c.update(func(txn *badger.Txn) error { return c.setPlan(txn, stored) })
	}
	if err != nil {
		return fmt.Errorf("mark plan %d as expired: %w", p.ID, err)
	}
	return nil
}
