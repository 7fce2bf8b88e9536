package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/event"
)

// PendingMax is the largest number of blocks that one call of [Store.Pending] returns.
const PendingMax = 16 << 10

// planBlocksMax is the largest number of blocks in one plan: their marks are removed in the plan's own transaction.
const planBlocksMax = 4096

// deleteChunk is the number of blocks that one transaction of DeleteBlocks removes.
const deleteChunk = 2048

var errStop = errors.New("stop")

// Pending lists the blocks that were applied before a moment and are in no plan, at most [PendingMax], the oldest hours
// first: by hour, then epoch, then in the order of their sequence numbers.
func (s *Store) Pending(ctx context.Context, appliedBefore time.Time) ([]catalogue.Pending, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	limit := appliedBefore.UnixMicro()
	var out []catalogue.Pending
	err := s.view(func(txn *badger.Txn) error {
		var meta blockMeta
		return each(txn, []byte{prefixUnplanned}, nil, func(key, value []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			id, err := parseBlockKey(key)
			if err != nil || !meta.read(&reader{rest: value}) {
				return fmt.Errorf("%w: mark of block %x", ErrDamaged, key)
			}
			if meta.appliedAt >= limit {
				return nil
			}
			if len(out) == PendingMax {
				return errStop
			}
			out = append(out, meta.pending(id))
			return nil
		})
	})
	if err != nil && !errors.Is(err, errStop) {
		return nil, fmt.Errorf("list pending blocks: %w", err)
	}
	slices.SortStableFunc(out, func(a, b catalogue.Pending) int {
		if a.ID.Hour != b.ID.Hour {
			return cmpOrdered(a.ID.Hour, b.ID.Hour)
		}
		return cmpBytes(a.Epoch, b.Epoch)
	})
	return out, nil
}

func cmpOrdered(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func cmpBytes(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }

// Events calls fn with every event of a plan, in the order of its blocks, drop records included. The event and the row's
// name are valid during the call. The error wraps [ErrDamaged], naming the block, if one is missing or cannot be read.
func (s *Store) Events(ctx context.Context, p *catalogue.Plan, fn func(seq uint64, row *catalogue.RowName, e *event.Event) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	decoder, err := newBlockDecoder()
	if err != nil {
		return err
	}
	defer decoder.close()
	return s.view(func(txn *badger.Txn) error {
		for _, id := range p.Blocks {
			if err := ctx.Err(); err != nil {
				return err //nolint:wrapcheck // the caller's own
			}
			if err := eventsOf(txn, decoder, id, p.Epoch, fn); err != nil {
				return err
			}
		}
		return nil
	})
}

func eventsOf(
	txn *badger.Txn, d *blockDecoder, id catalogue.BlockID, epoch uuid.UUID,
	fn func(seq uint64, row *catalogue.RowName, e *event.Event) error,
) error {
	found, err := get(txn, blockKey(prefixBlock, id), func(v []byte) error { return d.open(id, v) })
	if err != nil {
		return err
	}
	if !found || d.meta.epoch != epoch {
		return fmt.Errorf("%w: block %d/%d/%d of epoch %s is missing", ErrDamaged, id.Hour, id.Batch, id.Index, epoch)
	}
	return d.each(id, func(seq uint64, key uint32, e *event.Event) error { return fn(seq, &d.columns.keys[key], e) })
}

// AddPlan stores a new plan, synced, gives it its ID, and takes its blocks out of Pending in the same transaction. The
// error wraps [ErrInvalid] if a block is not pending, belongs to another hour or epoch, or if there are more than 4,096.
func (s *Store) AddPlan(ctx context.Context, p *catalogue.Plan) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return err //nolint:wrapcheck // the caller's own
	}
	if p.State != catalogue.Planned || len(p.Blocks) == 0 || len(p.Blocks) > planBlocksMax {
		return fmt.Errorf("add plan %s: %w: state %q, %d blocks", p.Key, ErrInvalid, p.State, len(p.Blocks))
	}
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.mu.Lock()
	next := s.state
	s.mu.Unlock()
	next.nextPlan++
	stored := *p
	stored.ID = next.nextPlan

	crash.Point("store.plan.before")
	err := s.update(func(txn *badger.Txn) error {
		if err := takePending(txn, &stored); err != nil {
			return err
		}
		if err := s.setPlan(txn, &stored); err != nil {
			return err
		}
		return set(txn, []byte{prefixState}, next.encode())
	})
	if err != nil {
		return fmt.Errorf("add plan %s: %w", p.Key, err)
	}
	crash.Point("store.plan.after")
	p.ID = stored.ID
	s.setState(next)
	return nil
}

func (s *Store) setState(next state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = next
}

// takePending checks that a plan says what its blocks say, and removes their marks.
func takePending(txn *badger.Txn, p *catalogue.Plan) error {
	var meta blockMeta
	rows, lines := uint64(0), uint64(0)
	for _, id := range p.Blocks {
		key := blockKey(prefixUnplanned, id)
		found, err := get(txn, key, func(v []byte) error {
			if !meta.read(&reader{rest: v}) {
				return fmt.Errorf("%w: mark of block %d/%d/%d", ErrDamaged, id.Hour, id.Batch, id.Index)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if !found || id.Hour != p.Hour || meta.epoch != p.Epoch {
			return fmt.Errorf("%w: block %d/%d/%d is not pending in hour %d of epoch %s",
				ErrInvalid, id.Hour, id.Batch, id.Index, p.Hour, p.Epoch)
		}
		rows += uint64(meta.responses) //nolint:gosec // not negative
		lines += uint64(meta.records)  //nolint:gosec // not negative
		if err := deleteKey(txn, key); err != nil {
			return err
		}
	}
	if rows != p.Rows || lines != p.Lines {
		return fmt.Errorf("%w: its blocks hold %d rows in %d lines, it says %d in %d", ErrInvalid, rows, lines, p.Rows, p.Lines)
	}
	return nil
}

func deleteKey(txn *badger.Txn, key []byte) error {
	err := txn.Delete(key)
	switch {
	case errors.Is(err, badger.ErrTxnTooBig):
		return ErrBatchTooLarge
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

const planVersion = 1

// withoutRuns is the plan of an object that another store made without its runs, if they are too many to be kept.
func withoutRuns(p catalogue.Plan) catalogue.Plan {
	if len(p.Runs) > catalogue.RunsMax {
		p.Runs = nil
	}
	return p
}

func (s *Store) setPlan(txn *badger.Txn, p *catalogue.Plan) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode plan: %w", err)
	}
	key, err := planKey(p.State, p.ID)
	if err != nil {
		return fmt.Errorf("%w: state %q", ErrInvalid, p.State)
	}
	return set(txn, key, s.apply.encoder.zstd.EncodeAll(text, []byte{planVersion}))
}

func decodePlan(d *blockDecoder, value []byte) (*catalogue.Plan, error) {
	if len(value) == 0 || value[0] == 0 {
		return nil, fmt.Errorf("%w: plan of %d bytes", ErrDamaged, len(value))
	}
	if value[0] > planVersion {
		return nil, fmt.Errorf("%w: plan version %d", ErrSchema, value[0])
	}
	text, err := d.zstdAll(value[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: plan: %w", ErrDamaged, err)
	}
	p := &catalogue.Plan{}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("%w: plan: %w", ErrDamaged, err)
	}
	return p, nil
}

// Plans calls fn with every plan: the deleted first, then the verified, then those planned, each by ascending ID. Plans
// whose blocks are deleted no longer list them. fn may change the plans it is given and may call back into the store.
func (s *Store) Plans(ctx context.Context, fn func(*catalogue.Plan) error) error {
	return s.plans(ctx, []byte{prefixPlan}, fn)
}

// PlansIn is Plans for one state only.
func (s *Store) PlansIn(ctx context.Context, state catalogue.State, fn func(*catalogue.Plan) error) error {
	key, err := planKey(state, 0)
	if err != nil {
		return fmt.Errorf("%w: state %q", ErrInvalid, state)
	}
	return s.plans(ctx, key[:2], fn)
}

func (s *Store) plans(ctx context.Context, prefix []byte, fn func(*catalogue.Plan) error) error {
	return s.plansFrom(ctx, prefix, nil, fn)
}

func (s *Store) plansFrom(ctx context.Context, prefix, from []byte, fn func(*catalogue.Plan) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	d, err := newBlockDecoder()
	if err != nil {
		return err
	}
	defer d.close()
	return s.view(func(txn *badger.Txn) error {
		return each(txn, prefix, from, func(_, value []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			p, err := decodePlan(d, value)
			if err != nil {
				return err
			}
			return fn(p)
		})
	})
}

// plan reads one plan in the given state. It reports nil if there is none.
func (s *Store) plan(state catalogue.State, id uint64) (p *catalogue.Plan, err error) {
	key, err := planKey(state, id)
	if err != nil {
		return nil, err
	}
	d, err := newBlockDecoder()
	if err != nil {
		return nil, err
	}
	defer d.close()
	err = s.view(func(txn *badger.Txn) error {
		_, err := get(txn, key, func(v []byte) (err error) {
			p, err = decodePlan(d, v)
			return err
		})
		return err
	})
	return p, err
}
