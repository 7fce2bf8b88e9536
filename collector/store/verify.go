package store

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/verify"
)

// snapshot is the state of the store at one moment: the database, and the corresponding figures in memory.
type snapshot struct {
	txn    *badger.Txn
	totals Totals
	marks  map[uuid.UUID]watermark
	live   map[stats.Key]uint64 // counts of the live rows

	unstored    map[stats.Key]unstored // unstored counts of the live rows
	minutesFrom int64
	incomplete  map[int64]bool
}

// newSnapshot takes a snapshot. Apply waits only while the snapshot is being taken, not while it is in use.
func (s *Store) newSnapshot() *snapshot {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.rowsMu.Lock()
	defer s.rowsMu.Unlock()
	s.Accounts.mu.Lock()
	defer s.Accounts.mu.Unlock()
	s.Statistics.mu.Lock()
	defer s.Statistics.mu.Unlock()
	shot := &snapshot{txn: s.db.NewTransaction(false), totals: s.counters.totals, marks: maps.Clone(s.watermarks), live: map[stats.Key]uint64{}}
	shot.minutesFrom, shot.incomplete, shot.unstored = s.minutes.from, maps.Clone(s.minutes.incomplete), map[stats.Key]unstored{}
	for key, row := range s.live {
		shot.live[key], shot.unstored[key] = row.row.Count, unstoredOf(row)
	}
	return shot
}

// Verify checks a snapshot of the store:
//
//   - every block and row can be read and matches its checksum;
//   - each event is stored only once, and not above its epoch's watermark;
//   - the rows of every hour add up to a recount of the stored events plus those that retention has deleted;
//   - the minutes of every hour add up to its rows;
//   - the figures of drop records are stored per hour;
//   - sums over longer spans equal the sums of their rows;
//   - every block is either pending or in exactly one plan;
//   - the totals agree with all of that.
//
// Verify only reads, and may run concurrently with everything else. It uses memory in proportion to the number of rows and of runs of
// sequence numbers, not to the number of events.
func (s *Store) Verify(ctx context.Context) ([]*verify.Check, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	decoder := block.NewDecoder()
	defer decoder.Close()
	v := &verification{
		s: s, snapshot: s.newSnapshot(), decoder: decoder, drops: dropFigures{},
		held: map[stats.Key]*uint64{}, rows: map[int64]uint64{}, recount: map[int64]uint64{}, removed: map[int64]uint64{},
		runs: map[uuid.UUID][]catalogue.Run{}, planned: map[catalogue.BlockID]uint64{},
	}
	defer v.txn.Discard()
	var checks []*verify.Check
	for _, step := range []func(context.Context) (*verify.Check, error){
		v.checkTables, v.checkPlans, v.checkBlocks, v.checkWatermarks, v.checkRows, v.checkMinutes, v.checkDrops, v.checkRollups, v.checkTotals,
	} {
		c, err := step(ctx)
		if err != nil {
			return nil, fmt.Errorf("verify store: %w", err)
		}
		checks = append(checks, c)
	}
	return checks, nil
}

// Names of checks that do not condemn a store (see [Damage]).
const (
	checkOfRows    = "hourly sums"
	checkOfSums    = "sums"
	checkOfMinutes = "minutes"
)

// verification is one call to Verify. Each step stores its results for later steps.
type verification struct {
	s *Store
	*snapshot
	decoder *block.Decoder

	held             map[stats.Key]*uint64 // recount of the stored events, by row
	recount, removed map[int64]uint64      // by hour: recounted events, and those deleted by retention
	rows             map[int64]uint64      // by hour: sum of the rows
	rowsTotal        uint64
	imported         uint64                        // sum of the rows of imported logs
	runs             map[uuid.UUID][]catalogue.Run // sequence numbers of the stored events
	drops            dropFigures                   // figures of the stored drop records
	planned          map[catalogue.BlockID]uint64  // blocks that plans list, with the ID of their plan
	archived         uint64                        // number of rows in verified or deleted plans
	deleted          uint64
}

// checkTables checks every block of every table against its checksum. It is the first step, because Badger skips a block that it cannot
// read: later steps would miss data without getting an error.
func (v *verification) checkTables(context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: "store tables", Of: "tables", Checked: uint64(len(v.s.db.Tables()))}
	if err := badgerfiles.CheckOpenTables(v.s.db, v.s.o.Dir); err != nil {
		c.Problem("%v", err)
	}
	return c, nil
}

// checkPlans reads the catalogue.
func (v *verification) checkPlans(ctx context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: "catalogue", Of: "plans"}
	return c, each(ctx, v.txn, []byte{prefixPlan}, nil, func(key, value []byte) error {
		c.Checked++
		p, err := decodePlan(v.decoder, value)
		if err != nil {
			c.Problem("plan %x cannot be read: %v", key, err)
			return nil
		}
		if want, err := planKey(p.State, p.ID); err != nil || string(want) != string(key) {
			c.Problem("plan %d is in state %s, but has the key of another plan", p.ID, p.State)
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
				c.Problem("block %s is in plans %d and %d", block.Name(id), other, p.ID)
			}
			v.planned[id] = p.ID
		}
		return nil
	})
}

// checkBlocks reads every stored event.
func (v *verification) checkBlocks(ctx context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: "event blocks", Of: "blocks"}
	pending := map[catalogue.BlockID]bool{}
	err := each(ctx, v.txn, []byte{prefixPending}, nil, func(key, _ []byte) error {
		id, err := parseBlockKey(key)
		if err != nil {
			c.Problem("pending block %x: %v", key, err)
			return nil
		}
		pending[id] = true
		if plan, twice := v.planned[id]; twice {
			c.Problem("block %s is both in plan %d and pending", block.Name(id), plan)
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	unseen := len(v.planned) + len(pending)
	err = each(ctx, v.txn, []byte{prefixBlock}, nil, func(key, value []byte) error {
		c.Checked++
		id, err := parseBlockKey(key)
		if err == nil {
			err = v.recountBlock(id, value)
		}
		if err != nil {
			c.Problem("%v", err)
		}
		_, planned := v.planned[id]
		if planned || pending[id] {
			unseen--
		} else {
			c.Problem("block %s is neither in a plan nor pending, so it would never be archived", block.Name(id))
		}
		return nil
	})
	if err == nil && unseen > 0 && !v.deleting(pending) {
		c.Problem("%d blocks that are in plans or pending are missing", unseen)
	}
	return c, err
}

// deleting reports whether all missing blocks belong to verified plans. Retention deletes the blocks of such a plan in several
// transactions.
func (v *verification) deleting(pending map[catalogue.BlockID]bool) bool {
	missing := func(id catalogue.BlockID) bool {
		_, err := v.txn.Get(blockKey(prefixBlock, id))
		return errors.Is(err, badger.ErrKeyNotFound)
	}
	for id := range pending {
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

// recountBlock counts the events of a block.
func (v *verification) recountBlock(id catalogue.BlockID, value []byte) error {
	if err := v.decoder.Open(id, value); err != nil {
		return err
	}
	v.runs[v.decoder.Header.Epoch] = append(v.runs[v.decoder.Header.Epoch], v.decoder.Header.Runs...)
	return v.decoder.Each(func(seq uint64, key uint32, e *event.Event) error {
		if stats.HourOfMicros(e.TimeMicros) != id.Hour {
			return fmt.Errorf("%w: block %s holds an event of another hour", ErrDamaged, block.Name(id))
		}
		if !e.IsResponse() {
			v.drops.note(v.decoder.Header.Epoch, seq, e)
			return nil
		}
		k := v.decoder.Keys()[key]
		row := stats.Key{Hour: id.Hour, Host: k.Host, Method: k.Method, Label: k.Label, Route: k.Route}
		n, known := v.held[row] // the strings belong to the decoder, so the map needs copies
		if !known {
			n = new(uint64)
			v.held[row.Clone()] = n
		}
		*n++
		v.recount[id.Hour]++
		return nil
	})
}
