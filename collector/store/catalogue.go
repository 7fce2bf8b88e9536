package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/event"
)

// Catalogue records the archive object for which each block of events is planned, and the state of each object. A block is either pending
// or in exactly one plan.
type Catalogue struct {
	*database
	accounts *Accounts
	rows     *Statistics
	space    *Space
	encoder  *block.Encoder // used only while accounts.writeMu is held
}

// PendingMax is the maximum number of blocks that one call to [Catalogue.Pending] returns.
const PendingMax = 16 << 10

// planBlocksMax is the maximum number of blocks in one plan. The transaction that adds a plan must also delete the
// pending keys of all its blocks.
const planBlocksMax = 4096

// Pending lists blocks that are in no plan and were applied before the given time, at most [PendingMax] of them, sorted
// by hour, epoch and sequence number.
func (c *Catalogue) Pending(ctx context.Context, appliedBefore time.Time) ([]catalogue.Pending, error) {
	limit := appliedBefore.UnixMicro()
	var out []catalogue.Pending
	err := c.viewOnce(func(txn *badger.Txn) error {
		return eachPending(ctx, txn, []byte{prefixPending}, func(id catalogue.BlockID, h *block.Header) error {
			if h.AppliedAt >= limit {
				return nil
			}
			if len(out) == PendingMax {
				return errStop
			}
			out = append(out, h.Pending(id))
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list pending blocks: %w", err)
	}
	slices.SortStableFunc(out, func(a, b catalogue.Pending) int {
		return cmp.Or(cmp.Compare(a.ID.Hour, b.ID.Hour), bytes.Compare(a.Epoch[:], b.Epoch[:]))
	})
	return out, nil
}

// eachPending calls fn with the pending blocks whose keys have a prefix. The header is only valid during the call.
func eachPending(ctx context.Context, txn *badger.Txn, prefix []byte, fn func(catalogue.BlockID, *block.Header) error) error {
	var h block.Header
	return each(ctx, txn, prefix, nil, func(key, value []byte) error {
		id, err := parseBlockKey(key)
		if err != nil || !h.Decode(value) {
			return fmt.Errorf("%w: pending block %x", ErrDamaged, key)
		}
		return fn(id, &h)
	})
}

// Events calls fn with every event of a plan, including drop records, in the order of the plan's blocks. The event and the row's name are
// only valid during the call. If a block is missing or unreadable, the error wraps [ErrDamaged] and names the block.
func (c *Catalogue) Events(ctx context.Context, p *catalogue.Plan, fn func(seq uint64, row *catalogue.RowName, e *event.Event) error) error {
	decoder := block.NewDecoder()
	defer decoder.Close()
	return c.viewOnce(func(txn *badger.Txn) error {
		for _, id := range p.Blocks {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := openBlock(txn, decoder, id, p.Epoch); err != nil {
				return err
			}
			err := decoder.Each(func(seq uint64, key uint32, e *event.Event) error { return fn(seq, &decoder.Keys()[key], e) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// openBlock reads a block that must exist.
func openBlock(txn *badger.Txn, d *block.Decoder, id catalogue.BlockID, epoch uuid.UUID) error {
	found, err := get(txn, blockKey(prefixBlock, id), func(v []byte) error { return d.Open(id, v) })
	if err == nil && (!found || d.Header.Epoch != epoch) {
		err = fmt.Errorf("%w: block %s of epoch %s is missing", ErrDamaged, block.Name(id), epoch)
	}
	return err
}

// AddPlan durably stores a new plan and assigns its ID. The same transaction removes the plan's blocks from the pending ones. The error
// wraps [ErrInvalid] if a block is not pending or belongs to a different hour or epoch, or if there are more than 4,096 blocks.
func (c *Catalogue) AddPlan(ctx context.Context, p *catalogue.Plan) error {
	unlock, err := c.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if p.State != catalogue.Planned || len(p.Blocks) == 0 || len(p.Blocks) > planBlocksMax {
		return fmt.Errorf("add plan %s: %w: state %q, %d blocks", p.Key, ErrInvalid, p.State, len(p.Blocks))
	}
	next := c.accounts.current()
	next.nextPlan++
	stored := *p
	stored.ID = next.nextPlan

	crash.Point("store.plan.before")
	err = c.update(func(txn *badger.Txn) error {
		if err := takePending(txn, &stored); err != nil {
			return err
		}
		if err := c.setPlan(txn, &stored); err != nil {
			return err
		}
		return next.write(txn)
	})
	if err != nil {
		return fmt.Errorf("add plan %s: %w", p.Key, err)
	}
	crash.Point("store.plan.after")
	p.ID = stored.ID
	c.accounts.setCounters(next)
	return nil
}

// beginWrite waits until the caller may write. No one else can write until the caller calls end.
func (c *Catalogue) beginWrite(ctx context.Context) (end func(), err error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	c.accounts.writeMu.Lock()
	end = func() {
		c.accounts.writeMu.Unlock()
		c.leave()
	}
	if err := ctx.Err(); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// takePending checks that a plan agrees with its blocks, and removes them from the pending ones.
func takePending(txn *badger.Txn, p *catalogue.Plan) error {
	var h block.Header
	rows, lines := uint64(0), uint64(0)
	for _, id := range p.Blocks {
		key := blockKey(prefixPending, id)
		found, err := get(txn, key, func(v []byte) error {
			if !h.Decode(v) {
				return fmt.Errorf("%w: pending block %s", ErrDamaged, block.Name(id))
			}
			return nil
		})
		if err != nil {
			return err
		}
		if !found || id.Hour != p.Hour || h.Epoch != p.Epoch {
			return fmt.Errorf("%w: block %s is not pending in hour %d of epoch %s", ErrInvalid, block.Name(id), p.Hour, p.Epoch)
		}
		rows += uint64(h.Responses)
		lines += uint64(h.Records)
		if err := deleteKey(txn, key); err != nil {
			return err
		}
	}
	if rows != p.Rows || lines != p.Lines {
		return fmt.Errorf("%w: its blocks hold %d rows in %d lines, but the plan says %d in %d", ErrInvalid, rows, lines, p.Rows, p.Lines)
	}
	return nil
}

// A stored plan is: version (1), zstd of JSON.
const planVersion = 1

// withoutRuns returns the plan of an object that another store wrote, without its runs if there are too many of them for one value.
func withoutRuns(p catalogue.Plan) catalogue.Plan {
	if len(p.Runs) > catalogue.RunsMax {
		p.Runs = nil
	}
	return p
}

// setPlan writes a plan under its state and ID. The caller holds writeMu.
func (c *Catalogue) setPlan(txn *badger.Txn, p *catalogue.Plan) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode plan: %w", err)
	}
	key, err := planKey(p.State, p.ID)
	if err != nil {
		return fmt.Errorf("%w: state %q", ErrInvalid, p.State)
	}
	return set(txn, key, c.encoder.Compress([]byte{planVersion}, text))
}

func decodePlan(d *block.Decoder, value []byte) (*catalogue.Plan, error) {
	if len(value) == 0 || value[0] == 0 {
		return nil, fmt.Errorf("%w: plan of %d bytes", ErrDamaged, len(value))
	}
	if value[0] > planVersion {
		return nil, fmt.Errorf("%w: plan version %d", ErrSchema, value[0])
	}
	p := &catalogue.Plan{}
	text, err := d.Decompress(value[1:])
	if err == nil {
		err = json.Unmarshal(text, p)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: plan: %w", ErrDamaged, err)
	}
	return p, nil
}

// Plans calls fn with every plan: first the deleted ones, then the verified ones, then the planned ones, each by ascending ID. Plans
// whose blocks have been deleted no longer list these blocks. fn may change the plans that it is given, and may call the store.
func (c *Catalogue) Plans(ctx context.Context, fn func(*catalogue.Plan) error) error {
	return c.plans(ctx, []byte{prefixPlan}, nil, fn)
}

// PlansIn is like Plans, for one state only.
func (c *Catalogue) PlansIn(ctx context.Context, state catalogue.State, fn func(*catalogue.Plan) error) error {
	key, err := planKey(state, 0)
	if err != nil {
		return fmt.Errorf("%w: state %q", ErrInvalid, state)
	}
	return c.plans(ctx, key[:2], nil, fn)
}

// ImportedAfter calls fn with the plan of every imported object whose ID is larger than id, in ascending order.
func (c *Catalogue) ImportedAfter(ctx context.Context, id uint64, fn func(*catalogue.Plan) error) error {
	from, err := planKey(catalogue.Deleted, id+1)
	if err != nil {
		return err
	}
	return c.plans(ctx, from[:2], from, func(p *catalogue.Plan) error {
		if !p.Imported {
			return nil
		}
		return fn(p)
	})
}

func (c *Catalogue) plans(ctx context.Context, prefix, from []byte, fn func(*catalogue.Plan) error) error {
	d := block.NewDecoder()
	defer d.Close()
	return c.viewOnce(func(txn *badger.Txn) error {
		return each(ctx, txn, prefix, from, func(_, value []byte) error {
			p, err := decodePlan(d, value)
			if err != nil {
				return err
			}
			return fn(p)
		})
	})
}

// plan reads the plan with this ID. It returns nil if the plan is not in the given state.
func (c *Catalogue) plan(state catalogue.State, id uint64) (p *catalogue.Plan, err error) {
	key, err := planKey(state, id)
	if err != nil {
		return nil, err
	}
	d := block.NewDecoder()
	defer d.Close()
	err = c.view(func(txn *badger.Txn) error {
		_, err := get(txn, key, func(v []byte) (err error) {
			p, err = decodePlan(d, v)
			return err
		})
		return err
	})
	return p, err
}
