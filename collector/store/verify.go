package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/verify"
)

// moment is the store as of one moment: a view of the database, and what is in memory beyond it.
type moment struct {
	txn   *badger.Txn
	state state
	marks map[uuid.UUID]watermark
	live  map[stats.Key]uint64 // counts of the live rows
}

// freeze takes a moment. Applying waits for it, but not for what is then done with it.
func (s *Store) freeze() *moment {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.rowsMu.Lock()
	defer s.rowsMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &moment{txn: s.db.NewTransaction(false), state: s.state, marks: map[uuid.UUID]watermark{}, live: map[stats.Key]uint64{}}
	for epoch, w := range s.watermarks {
		m.marks[epoch] = w
	}
	for key, row := range s.live {
		m.live[key] = row.row.Count
	}
	return m
}

// Verify checks, as of one moment, everything that the store promises about itself: every block and row can be read and
// matches its checksum; each event is held once and lies below its epoch's watermark; the rows of every hour add up to a
// recount of the events held plus those that retention removed; what drop records told stands by the hour; sums are what the rows come to; every block is in exactly one plan or waits for one; the
// totals agree with all of that. It only reads, and may run beside everything else. Memory grows with the number of rows
// and of runs of sequence numbers, not with that of events.
func (s *Store) Verify(ctx context.Context) ([]*verify.Check, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	decoder, err := newBlockDecoder()
	if err != nil {
		return nil, err
	}
	defer decoder.close()
	v := &verification{
		s: s, moment: s.freeze(), decoder: decoder, drops: toldDrops{},
		held: map[stats.Key]*uint64{}, rows: map[int64]uint64{}, recount: map[int64]uint64{}, removed: map[int64]uint64{},
		runs: map[uuid.UUID][]catalogue.Run{}, planned: map[catalogue.BlockID]uint64{},
	}
	defer v.txn.Discard()
	var checks []*verify.Check
	for _, step := range []func(context.Context) (*verify.Check, error){
		v.tables, v.plans, v.blocks, v.marksAndRuns, v.hours, v.hourlyDrops, v.spans, v.totals,
	} {
		c, err := step(ctx)
		if err != nil {
			return nil, fmt.Errorf("verify store: %w", err)
		}
		checks = append(checks, c)
	}
	return checks, nil
}

// Names of checks that do not condemn a store, see [Damage].
const (
	checkOfRows = "hourly sums"
	checkOfSums = "sums"
)

// verification is what the steps leave for each other.
type verification struct {
	s *Store
	*moment
	decoder *blockDecoder

	held             map[stats.Key]*uint64 // recount of the events held, by row
	recount, removed map[int64]uint64      // by hour: recounted, and deleted by retention
	rows             map[int64]uint64      // by hour: sum of the rows
	rowsTotal        uint64
	runs             map[uuid.UUID][]catalogue.Run // sequence numbers held
	drops            toldDrops                     // by the drop records held
	planned          map[catalogue.BlockID]uint64  // blocks that plans list, and their plan
	archived         uint64                        // rows of plans verified or deleted
	deleted          uint64
}

// tables checks every block of every table against its checksum. It comes first: Badger passes over a block that it cannot
// read, so that all that follows would see too little rather than an error.
func (v *verification) tables(context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: "store tables", Of: "tables", Checked: uint64(len(v.s.db.Tables()))}
	if err := v.s.verifyTables(); err != nil {
		c.Problem("%v", err)
	}
	return c, nil
}

// plans reads the catalogue.
func (v *verification) plans(ctx context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: "catalogue", Of: "plans"}
	return c, each(v.txn, []byte{prefixPlan}, nil, func(key, value []byte) error {
		c.Checked++
		p, err := decodePlan(v.decoder, value)
		if err != nil {
			c.Problem("plan %x cannot be read: %v", key, err)
			return ctx.Err()
		}
		if want, err := planKey(p.State, p.ID); err != nil || string(want) != string(key) {
			c.Problem("plan %d says %s and stands elsewhere", p.ID, p.State)
		}
		if p.State != catalogue.Planned {
			v.archived += p.Counted()
		}
		if p.State == catalogue.Deleted {
			v.deleted += p.Counted()
			v.removed[p.Hour] += p.Counted()
		}
		for _, id := range p.Blocks {
			if other, twice := v.planned[id]; twice {
				c.Problem("block %s is in plans %d and %d", blockName(id), other, p.ID)
			}
			v.planned[id] = p.ID
		}
		return ctx.Err()
	})
}

func blockName(id catalogue.BlockID) string {
	return fmt.Sprintf("%d/%d/%d", id.Hour, id.Batch, id.Index)
}

// blocks reads every event held.
func (v *verification) blocks(ctx context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: "event blocks", Of: "blocks"}
	waiting := map[catalogue.BlockID]bool{}
	err := each(v.txn, []byte{prefixUnplanned}, nil, func(key, _ []byte) error {
		id, err := parseBlockKey(key)
		if err != nil {
			c.Problem("mark %x: %v", key, err)
			return ctx.Err()
		}
		waiting[id] = true
		if plan, twice := v.planned[id]; twice {
			c.Problem("block %s is in plan %d and waits for one", blockName(id), plan)
		}
		return ctx.Err()
	})
	if err != nil {
		return c, err
	}
	unseen := len(v.planned) + len(waiting)
	err = each(v.txn, []byte{prefixBlock}, nil, func(key, value []byte) error {
		c.Checked++
		id, err := parseBlockKey(key)
		if err == nil {
			err = v.block(id, value)
		}
		if err != nil {
			c.Problem("%v", err)
		}
		_, planned := v.planned[id]
		if planned || waiting[id] {
			unseen--
		} else {
			c.Problem("block %s is in no plan and waits for none: it would never be archived", blockName(id))
		}
		return ctx.Err()
	})
	if err == nil && unseen > 0 && !v.deleting(waiting) {
		c.Problem("%d blocks that plans list, or that wait for one, are missing", unseen)
	}
	return c, err
}

// deleting reports whether the missing blocks are those of verified plans only, which retention removes in several steps.
func (v *verification) deleting(waiting map[catalogue.BlockID]bool) bool {
	missing := func(id catalogue.BlockID) bool {
		_, err := v.txn.Get(blockKey(prefixBlock, id))
		return errors.Is(err, badger.ErrKeyNotFound)
	}
	for id := range waiting {
		if missing(id) {
			return false
		}
	}
	for id, plan := range v.planned {
		if !missing(id) {
			continue
		}
		key, err := planKey(catalogue.Verified, plan)
		if err != nil {
			return false
		}
		if _, err := v.txn.Get(key); err != nil {
			return false
		}
	}
	return true
}

func (v *verification) block(id catalogue.BlockID, value []byte) error {
	if err := v.decoder.open(id, value); err != nil {
		return err
	}
	v.runs[v.decoder.meta.epoch] = append(v.runs[v.decoder.meta.epoch], v.decoder.meta.runs...)
	return v.decoder.each(id, func(seq uint64, key uint32, e *event.Event) error {
		if stats.HourOfMicros(e.TimeMicros) != id.Hour {
			return fmt.Errorf("%w: block %s holds an event of another hour", ErrDamaged, blockName(id))
		}
		if !e.IsResponse() {
			v.drops.note(v.decoder.meta.epoch, seq, e)
			return nil
		}
		k := v.decoder.columns.keys[key]
		row := stats.Key{Hour: id.Hour, Host: k.Host, Method: k.Method, Label: k.Label}
		n, known := v.held[row] // the row's strings are the decoder's: they must not become the map's
		if !known {
			row.Host, row.Method, row.Label = strings.Clone(k.Host), strings.Clone(k.Method), strings.Clone(k.Label)
			n = new(uint64)
			v.held[row] = n
		}
		*n++
		v.recount[id.Hour]++
		return nil
	})
}
