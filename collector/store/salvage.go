package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/disk"
)

// Before a damaged store is set aside, what of it can be shown to be right is copied to a new one, under its original
// identity: epochs, sequence numbers, hours, objects. ADR 42 says by which rules. The new store is made beside the old one,
// verified as a whole, and takes its place only then. Whatever stands in the way, it is the store that is begun empty.

// salvageTries is how often making the new store may be cut short by the end of the process before it is given up.
const salvageTries = 3

// salvageRoom is the disk space in bytes that making the new store takes besides the copy: Badger's logs of both stores.
const salvageRoom = 64 << 20

// salvageDir is where the new store is made.
func salvageDir(o *Options) string { return o.Dir + ".salvage" }

// salvagedMark names the file that says that the new store is complete.
func salvagedMark(o *Options) string { return filepath.Join(salvageDir(o), "complete") }

// finishSalvage looks for a salvage that the end of the process cut short: one that was complete and whose damaged store is
// gone takes its place, any other is removed.
func finishSalvage(o *Options) error {
	if !exists(salvageDir(o)) {
		return nil
	}
	if exists(salvagedMark(o)) && !exists(o.Dir) {
		return takeSalvaged(o)
	}
	if exists(salvagedMark(o)) && !exists(filepath.Join(salvageDir(o), "store")) {
		if err := os.RemoveAll(salvageDir(o)); err != nil { // it is in place already
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return nil
	}
	for _, name := range []string{"complete", "store", "store.lock", "store.cut", "store.unlisted", "view"} {
		if err := os.RemoveAll(filepath.Join(salvageDir(o), name)); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return nil
}

// takeSalvaged puts the new store where the damaged one was.
func takeSalvaged(o *Options) error {
	err := os.Rename(filepath.Join(salvageDir(o), "store"), o.Dir)
	if err == nil {
		err = errors.Join(disk.SyncDir(filepath.Dir(o.Dir)), os.RemoveAll(salvageDir(o)))
	}
	if err != nil {
		return fmt.Errorf("%w: put the salvaged store in place: %w", ErrUnavailable, err)
	}
	return nil
}

// salvage makes the new store, complete and marked as such, or returns why there is none.
func salvage(o *Options) (saved *salvaged, err error) {
	if o.SalvageTimeMax < 0 {
		return nil, errors.New("it is switched off")
	}
	old := debug.SetPanicOnFault(true) // a table that is cut off while it is mapped
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
		debug.SetPanicOnFault(old)
	}()
	if err := beginSalvage(o); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.SalvageTimeMax)
	defer cancel()
	view := filepath.Join(salvageDir(o), "view")
	lost, report, err := buildView(view, o.Dir, unlistedDir(o))
	if err != nil {
		return nil, err
	}
	if lost.everything() {
		return nil, fmt.Errorf("a table that cannot be read at all may hold anything: %s", strings.Join(report, "; "))
	}
	to := *o
	to.Dir, to.anew = filepath.Join(salvageDir(o), "store"), false
	to.RefuseDamaged = true // the ledgers are kept where the store will be, once it is there
	if saved, err = copyStore(ctx, &to, view, lost); err == nil {
		err = checkSalvaged(ctx, to)
	}
	if err == nil {
		err = os.RemoveAll(view)
	}
	if err == nil {
		err = writeFileSynced(salvagedMark(o), nil)
	}
	return saved, err
}

// salvageTriesFile has a byte for each attempt that was begun.
func salvageTriesFile(o *Options) string { return filepath.Join(salvageDir(o), "tries") }

// beginSalvage makes the folder, counts the attempt, and looks whether there is room for a copy.
func beginSalvage(o *Options) error {
	if err := os.MkdirAll(salvageDir(o), 0o750); err != nil {
		return err //nolint:wrapcheck // names the folder
	}
	name := salvageTriesFile(o)
	tries, _ := os.ReadFile(name) // none before the first
	if len(tries) >= salvageTries {
		return fmt.Errorf("the process ended %d times while at it", len(tries))
	}
	if err := writeFileSynced(name, append(tries, '1')); err != nil {
		return err
	}
	size := int64(0)
	names, _ := filepath.Glob(filepath.Join(o.Dir, "*.sst")) // the pattern is a constant
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			size += info.Size()
		}
	}
	free, err := disk.Free(filepath.Dir(o.Dir))
	if err != nil {
		return err
	}
	if o.Room != nil {
		free = min(free, o.Room())
	}
	if free < size+size/4+salvageRoom {
		return fmt.Errorf("%d bytes may still be written, and a copy of its %d bytes takes more", free, size)
	}
	return nil
}

// checkSalvaged opens the new store as any other and verifies it. It is kept only if nothing at all is wrong.
func checkSalvaged(ctx context.Context, o Options) error {
	lock, err := lockStore(o.Dir)
	if err != nil {
		return err
	}
	s, err := tryOpen(o)
	if err != nil {
		return errors.Join(fmt.Errorf("open what was salvaged: %w", err), lock.Close())
	}
	s.lock = lock
	checks, err := s.Verify(ctx)
	for _, c := range checks {
		if c.Found > 0 {
			err = errors.Join(err, fmt.Errorf("%w: %s: %s", ErrDamaged, c.Name, c.Problems[0]))
		}
	}
	if totals, sum, accountErr := s.Account(ctx); accountErr != nil || totals.Applied != sum ||
		totals.Deleted > totals.Archived || totals.Archived > totals.Applied {
		err = errors.Join(err, accountErr, fmt.Errorf("%w: totals %+v, rows add up to %d", ErrDamaged, totals, sum))
	}
	return errors.Join(err, s.Close())
}

// salvaged is what was carried over, for the report.
type salvaged struct {
	lost                        lostKeys
	whole, partial, gone        int // hours
	wholeResponses, inPart      uint64
	blocks, waiting, plans      int
	epochs, ledgers, unsureMark int
	paths, drops                bool
}

// String is the report's paragraph.
func (r *salvaged) String() string {
	paths := "The table of paths was carried over."
	if !r.paths {
		paths = "The table of paths was not: paths are learnt anew."
	}
	if !r.drops {
		paths += " Figures of dropped responses by the hour may be missing."
	}
	return fmt.Sprintf("Carried over into the store that took its place, because it can be shown to be right:\n"+
		"  %d hours with all of their %d responses;\n"+
		"  %d hours with the %d responses whose events are held, but without the rest;\n"+
		"  %d event blocks, %d of which wait to be archived; %d catalogue entries; %d watermarks, %d of them lower than they were;\n"+
		"  %d ledgers of finished epochs. %s\n"+
		"Of %d hours nothing was carried over. Ranges of keys that may be incomplete: %d.",
		r.whole, r.wholeResponses, r.partial, r.inPart, r.blocks, r.waiting, r.plans, r.epochs, r.unsureMark, r.ledgers, paths, r.gone, len(r.lost))
}

// copier copies a view to a new store.
type copier struct {
	ctx     context.Context
	view    *badger.Txn
	out     *badger.WriteBatch
	lost    lostKeys
	decoder *blockDecoder
	encoder *blockEncoder
	report  *salvaged
	now     func() time.Time
	kept    *keptFile // ledgers beside the store, or nil

	plans   map[int64][]*savedPlan // by hour
	state   state
	held    map[uuid.UUID]uint64 // responses carried over
	last    map[uuid.UUID]uint64 // largest sequence number carried over
	waiting map[uuid.UUID]bool   // epochs with blocks in no plan
	drops   toldDrops            // of the blocks carried over
}

// savedPlan is what is kept of a plan while the hours are copied.
type savedPlan struct {
	catalogue.Plan
	drop bool
}

func copyStore(ctx context.Context, o *Options, viewDir string, lost lostKeys) (*salvaged, error) {
	in := *o
	in.Dir = viewDir
	// No compaction, and no waiting for one: nothing in the view changes.
	from, err := badger.Open(badgerOptions(&in).WithNumCompactors(0).WithNumLevelZeroTables(1 << 20).WithNumLevelZeroTablesStall(1<<20 + 1))
	if err != nil {
		return nil, fmt.Errorf("open the view: %w", err)
	}
	defer func() { _ = from.Close() }()
	to, err := badger.Open(badgerOptions(o).WithSyncWrites(false).WithChecksumVerificationMode(options.NoVerification))
	if err != nil {
		return nil, fmt.Errorf("make the new store: %w", err)
	}
	c := &copier{
		ctx: ctx, view: from.NewTransaction(false), out: to.NewWriteBatch(), lost: lost, report: &salvaged{lost: lost}, now: o.Now, kept: o.kept,
		plans: map[int64][]*savedPlan{}, held: map[uuid.UUID]uint64{}, last: map[uuid.UUID]uint64{}, waiting: map[uuid.UUID]bool{}, drops: toldDrops{},
	}
	defer c.view.Discard()
	defer c.out.Cancel()
	if c.decoder, err = newBlockDecoder(); err == nil {
		defer c.decoder.close()
		if c.encoder, err = newBlockEncoder(); err == nil {
			defer func() { _ = c.encoder.zstd.Close() }()
			err = c.copy()
		}
	}
	if err == nil {
		err = errors.Join(c.out.Flush(), to.Sync())
	}
	return c.report, errors.Join(err, to.Close())
}

func (c *copier) copy() error {
	for _, step := range []func() error{c.readState, c.readPlans, c.copyHours, c.writePlans, c.copyOthers, c.writeAccounts} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// each walks the keys with a prefix whose newest version is known.
func (c *copier) each(prefix []byte, fn func(key, value []byte) error) error {
	return each(c.view, prefix, nil, func(key, value []byte) error {
		if err := c.ctx.Err(); err != nil {
			return fmt.Errorf("time is up: %w", err)
		}
		if c.lost.has(key) {
			return nil
		}
		return fn(key, value)
	})
}

func (c *copier) set(key, value []byte) error {
	return c.out.Set(slices.Clone(key), slices.Clone(value)) //nolint:wrapcheck // Badger's, and the report says all of it
}

// readState takes the largest numbers that were given out, so that none is given out twice: also from a version of the state
// that may not be the newest.
func (c *copier) readState() error {
	_, err := get(c.view, []byte{prefixSchema}, func(v []byte) error {
		if len(v) == 12 && binary.LittleEndian.Uint32(v) > SchemaVersion {
			return fmt.Errorf("%w: schema %d, known up to %d", ErrSchema, binary.LittleEndian.Uint32(v), SchemaVersion)
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = get(c.view, []byte{prefixState}, func(v []byte) error {
		s, err := decodeState(v)
		c.state.lastBatch, c.state.nextPlan, c.state.ledgers = s.lastBatch, s.nextPlan, s.ledgers
		return err
	})
	return err
}

// readPlans reads the catalogue. Of a plan that stands in two states, the furthest counts, which comes first.
func (c *copier) readPlans() error {
	seen := map[uint64]bool{}
	return c.each([]byte{prefixPlan}, func(key, value []byte) error {
		p, err := decodePlan(c.decoder, value)
		if err != nil {
			return nil //nolint:nilerr // not known
		}
		if want, err := planKey(p.State, p.ID); err != nil || string(want) != string(key) || seen[p.ID] {
			return nil //nolint:nilerr // as above
		}
		seen[p.ID] = true
		c.state.nextPlan = max(c.state.nextPlan, p.ID)
		c.plans[p.Hour] = append(c.plans[p.Hour], &savedPlan{Plan: catalogue.Plan{
			ID: p.ID, State: p.State, Hour: p.Hour, Epoch: p.Epoch, Blocks: p.Blocks, Runs: p.Runs, Rows: p.Rows,
			Adopted: p.Adopted, Elsewhere: p.Elsewhere,
		}})
		return nil
	})
}

// writePlans copies the catalogue as the hours have left it.
func (c *copier) writePlans() error {
	kept := map[uint64]*savedPlan{}
	for _, plans := range c.plans {
		for _, p := range plans {
			if !p.drop {
				kept[p.ID] = p
			}
		}
	}
	return c.each([]byte{prefixPlan}, func(_, value []byte) error {
		p, err := decodePlan(c.decoder, value)
		if err != nil || kept[p.ID] == nil {
			return nil //nolint:nilerr // not known
		}
		now := kept[p.ID]
		delete(kept, p.ID)
		p.State, p.Blocks, p.Elsewhere = now.State, now.Blocks, now.Elsewhere
		if p.State == catalogue.Deleted && p.DeletedAt.IsZero() && !p.Adopted {
			p.DeletedAt = c.now()
		}
		c.report.plans++
		if p.State != catalogue.Planned {
			c.state.totals.Archived += p.Counted()
		}
		if p.State == catalogue.Deleted {
			c.state.totals.Deleted += p.Counted()
			runs := p.Runs
			if p.Adopted && p.Counted() == 0 {
				runs = nil // of events that may never have been applied here: what comes is still compared with the object
			}
			c.count(p.Epoch, p.Counted(), runs)
		}
		return c.setPlan(p)
	})
}

// count notes that events of an epoch were carried over, or are known to be archived: they must not be applied again.
func (c *copier) count(epoch uuid.UUID, responses uint64, runs []catalogue.Run) {
	c.held[epoch] += responses
	c.state.totals.Applied += responses
	if len(runs) > 0 {
		c.last[epoch] = max(c.last[epoch], runs[len(runs)-1].Last)
	}
}

// salvageTime is the default of Options.SalvageTimeMax.
const salvageTime = 10 * time.Minute
