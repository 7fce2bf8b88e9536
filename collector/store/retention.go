package store

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
)

// MarkVerified records, synced, that a plan's object was read back and matched, with the figures of the object that p
// holds, and counts its rows as archived in the same transaction. Marking a plan again changes nothing. The error wraps
// [ErrNoPlan] if there is no such plan.
func (s *Store) MarkVerified(ctx context.Context, p *catalogue.Plan) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return err //nolint:wrapcheck // the caller's own
	}
	s.writeMu.Lock()
	defer s.writeMu.Unlock()

	stored, err := s.plan(catalogue.Planned, p.ID)
	if err != nil {
		return fmt.Errorf("mark plan %d: %w", p.ID, err)
	}
	if stored == nil {
		return s.alreadyMarked(p)
	}
	if stored.Key != p.Key {
		return fmt.Errorf("mark plan %d: %w: key %s, stored as %s", p.ID, ErrInvalid, p.Key, stored.Key)
	}
	// What was planned stands; only what the object turned out to be is taken over.
	stored.State = catalogue.Verified
	stored.Target, stored.RawBytes, stored.ObjectBytes = p.Target, p.RawBytes, p.ObjectBytes
	stored.RawSHA256, stored.ObjectSHA256, stored.VerifiedAt = p.RawSHA256, p.ObjectSHA256, p.VerifiedAt
	stored.Observed = p.Observed
	stored.StatsRows, stored.StatsBytes, stored.StatsSHA256 = p.StatsRows, p.StatsBytes, p.StatsSHA256
	if stored.VerifiedAt.IsZero() {
		stored.VerifiedAt = s.o.Now()
	}
	s.mu.Lock()
	next := s.state
	s.mu.Unlock()
	next.totals.Archived += stored.Rows

	crash.Point("store.mark.before")
	if err := s.movePlan(catalogue.Planned, stored, next); err != nil {
		return fmt.Errorf("mark plan %d: %w", p.ID, err)
	}
	crash.Point("store.mark.after")
	s.setState(next)
	p.State, p.VerifiedAt = stored.State, stored.VerifiedAt
	return nil
}

func (s *Store) alreadyMarked(p *catalogue.Plan) error {
	for _, state := range [...]catalogue.State{catalogue.Verified, catalogue.Deleted} {
		stored, err := s.plan(state, p.ID)
		if err != nil {
			return fmt.Errorf("mark plan %d: %w", p.ID, err)
		}
		if stored != nil && stored.Key == p.Key {
			p.State, p.VerifiedAt = stored.State, stored.VerifiedAt
			return nil
		}
	}
	return fmt.Errorf("mark plan %d: %w", p.ID, ErrNoPlan)
}

// movePlan stores a plan under its new state, with the totals that go with it, in one transaction.
func (s *Store) movePlan(from catalogue.State, p *catalogue.Plan, next state) error {
	return s.update(func(txn *badger.Txn) error { return s.movePlanIn(txn, from, p, next) })
}

func (s *Store) movePlanIn(txn *badger.Txn, from catalogue.State, p *catalogue.Plan, next state) error {
	old, err := planKey(from, p.ID)
	if err != nil {
		return err
	}
	if err := deleteKey(txn, old); err != nil {
		return err
	}
	if err := s.setPlan(txn, p); err != nil {
		return err
	}
	return set(txn, []byte{prefixState}, next.encode())
}

// DeleteBlocks removes the events of a verified plan. The plan's new state, and its rows in the total of deleted ones, are
// in the transaction that removes the last of its blocks; a crash before that leaves a plan to delete again. Deleting it
// again changes nothing. The error wraps [ErrNotVerified] if the plan is not verified in the catalogue, whatever p says,
// and [ErrNotCheckpointed] if some of its events are not yet in the persisted rows.
func (s *Store) DeleteBlocks(ctx context.Context, p *catalogue.Plan) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()

	stored, err := s.deletable(p)
	if err != nil || stored == nil {
		return err
	}
	crash.Point("store.delete.before")
	blocks := stored.Blocks
	for ; len(blocks) > deleteChunk; blocks = blocks[deleteChunk:] {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		err := s.update(func(txn *badger.Txn) error { return deleteBlockKeys(txn, blocks[:deleteChunk]) })
		if err != nil {
			return fmt.Errorf("delete blocks of plan %d: %w", p.ID, err)
		}
		crash.Point("store.delete.chunk")
	}
	s.mu.Lock()
	next := s.state
	s.mu.Unlock()
	next.totals.Deleted += stored.Rows
	stored.State, stored.DeletedAt, stored.Blocks = catalogue.Deleted, s.o.Now(), nil
	err = s.update(func(txn *badger.Txn) error {
		if err := deleteBlockKeys(txn, blocks); err != nil {
			return err
		}
		return s.movePlanIn(txn, catalogue.Verified, stored, next)
	})
	if err != nil {
		return fmt.Errorf("delete blocks of plan %d: %w", p.ID, err)
	}
	crash.Point("store.delete.after")
	s.mu.Lock()
	s.state = next
	s.undeleted += stored.Lines
	s.mu.Unlock()
	p.State, p.DeletedAt = stored.State, stored.DeletedAt
	return nil
}

// MarkExpired records, synced, that a plan's object was removed from the archive. Marking it again changes nothing. The
// error wraps [ErrNotVerified] if the plan's events are still here.
func (s *Store) MarkExpired(ctx context.Context, p *catalogue.Plan) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return err //nolint:wrapcheck // the caller's own
	}
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	stored, err := s.plan(catalogue.Deleted, p.ID)
	if err == nil && (stored == nil || stored.Key != p.Key) {
		err = ErrNotVerified
	}
	if err == nil {
		stored.ExpiredAt = p.ExpiredAt
		err = s.update(func(txn *badger.Txn) error { return s.setPlan(txn, stored) })
	}
	if err != nil {
		return fmt.Errorf("mark plan %d as expired: %w", p.ID, err)
	}
	return nil
}

// deletable returns the stored plan if its blocks may be deleted, and nil if they are deleted already.
func (s *Store) deletable(p *catalogue.Plan) (*catalogue.Plan, error) {
	stored, err := s.plan(catalogue.Verified, p.ID)
	if err != nil {
		return nil, fmt.Errorf("delete blocks of plan %d: %w", p.ID, err)
	}
	if stored == nil {
		if done, err := s.plan(catalogue.Deleted, p.ID); err != nil || done != nil {
			return nil, err
		}
		return nil, fmt.Errorf("delete blocks of plan %d: %w", p.ID, ErrNotVerified)
	}
	s.mu.Lock()
	checkpointed := s.checkpointed
	s.mu.Unlock()
	for _, id := range stored.Blocks {
		if id.Batch > checkpointed {
			return nil, fmt.Errorf("delete blocks of plan %d: %w: batch %d, checkpoint %d",
				p.ID, ErrNotCheckpointed, id.Batch, checkpointed)
		}
	}
	return stored, nil
}

func deleteBlockKeys(txn *badger.Txn, ids []catalogue.BlockID) error {
	for _, id := range ids {
		if err := deleteKey(txn, blockKey(prefixBlock, id)); err != nil {
			return err
		}
	}
	return nil
}
