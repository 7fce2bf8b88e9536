package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/stats"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// An hour is carried over whole if its rows are known to be the newest, and add up to its events: those held in blocks and
// those that retention removed after archiving. Where none were removed, each row must equal the fold of its events. If it
// cannot be, its rows are made anew from the blocks that are known, and the rest of its responses counts as quarantined.

// hourCopy is one hour on its way.
type hourCopy struct {
	hour    int64
	rows    map[stats.Key]*savedRow // as stored, brought up to date from the blocks
	folded  map[stats.Key]*stats.Row
	blocks  map[catalogue.BlockID]*savedBlock
	plans   []*savedPlan
	known   bool   // every row is the newest version, and readable
	deleted uint64 // responses of plans whose events were removed
}

type savedRow struct {
	stats.Row
	includes uint64
}

type savedBlock struct {
	epoch     uuid.UUID
	runs      []catalogue.Run
	responses uint64
	planned   bool
}

func (c *copier) copyHours() error {
	hours := map[int64]bool{}
	for hour := range c.plans {
		hours[hour] = true
	}
	for _, prefix := range [...]byte{prefixRow, prefixBlock} {
		if err := c.listHours(prefix, hours); err != nil {
			return err
		}
	}
	for hour := range hours {
		if err := c.copyHour(hour); err != nil {
			return fmt.Errorf("hour %s: %w", hourText(hour), err)
		}
	}
	return nil
}

// listHours lists the hours of the keys with a prefix, with one step for each.
func (c *copier) listHours(prefix byte, hours map[int64]bool) error {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Prefix = []byte{prefix}
	it := c.view.NewIterator(o)
	defer it.Close()
	for it.Seek(o.Prefix); it.Valid(); {
		key := it.Item().Key()
		if len(key) < 9 {
			it.Next()
			continue
		}
		hour := hourOf(binary.BigEndian.Uint64(key[1:]))
		hours[hour] = true
		next := behind(key[:9])
		if next == nil {
			break
		}
		it.Seek(next)
	}
	return c.ctx.Err()
}

func (c *copier) copyHour(hour int64) error {
	h := &hourCopy{
		hour: hour, rows: map[stats.Key]*savedRow{}, folded: map[stats.Key]*stats.Row{},
		blocks: map[catalogue.BlockID]*savedBlock{}, plans: c.plans[hour],
	}
	if err := c.readRows(h); err != nil {
		return err
	}
	if err := c.readBlocks(h); err != nil {
		return err
	}
	h.settlePlans()
	if err := c.copyBlocks(h); err != nil {
		return err
	}
	return c.writeRows(h)
}

// readRows reads the rows of an hour.
func (c *copier) readRows(h *hourCopy) error {
	prefix := appendHourKey(nil, prefixRow, h.hour)
	h.known = !c.lost.touches(prefix)
	return c.each(prefix, func(key, value []byte) error {
		k, err := parseRowKey(key)
		row := &savedRow{}
		var body []byte
		if err == nil {
			row.includes, body, err = rowBody(value)
		}
		if err == nil {
			err = row.Decode(body)
		}
		if err != nil {
			h.known = false
			return nil //nolint:nilerr // the hour's rows are made anew
		}
		c.state.lastBatch = max(c.state.lastBatch, row.includes)
		if row.Count > 0 {
			h.rows[k] = row
		}
		return nil
	})
}

// readBlocks lists the blocks of an hour that match their checksums.
func (c *copier) readBlocks(h *hourCopy) error {
	var meta blockMeta
	return c.each(appendHourKey(nil, prefixBlock, h.hour), func(key, value []byte) error {
		id, err := parseBlockKey(key)
		if err != nil {
			return nil //nolint:nilerr // not a block
		}
		c.state.lastBatch = max(c.state.lastBatch, id.Batch)
		if len(value) < blockHeadBytes || crc32.Checksum(value[blockHeadBytes:], castagnoli) != binary.LittleEndian.Uint32(value[4:]) ||
			!meta.read(&reader{rest: value[blockHeadBytes:]}) {
			return nil
		}
		h.blocks[id] = &savedBlock{epoch: meta.epoch, runs: slices.Clone(meta.runs), responses: uint64(meta.responses)} //nolint:gosec // not negative
		return nil
	})
}

// settlePlans decides what becomes of the hour's plans, and of the blocks in them.
//
//   - Verified, and all of its blocks are there: it stays.
//   - Verified, and some are missing, because retention was at it or by damage: the archive has all of them, and the rest is
//     removed.
//   - Planned, and all of its blocks are there: it stays, and is executed.
//   - Planned, and some are missing: it cannot be executed. The others wait for a plan again, and because their epoch is in
//     doubt the archive is asked first whether it has them.
func (h *hourCopy) settlePlans() {
	for _, p := range h.plans {
		missing := slices.ContainsFunc(p.Blocks, func(id catalogue.BlockID) bool {
			b := h.blocks[id]
			return b == nil || b.planned || b.epoch != p.Epoch
		})
		switch {
		case p.State == catalogue.Deleted:
		case missing && p.State == catalogue.Verified:
			p.State, p.Blocks = catalogue.Deleted, nil
		case missing:
			p.drop = true
			continue
		default:
			for _, id := range p.Blocks {
				h.blocks[id].planned = true
			}
		}
		if p.State == catalogue.Deleted {
			h.deleted += p.Counted()
		}
	}
	for _, p := range h.plans {
		if p.drop || p.State != catalogue.Deleted || p.Adopted {
			continue // what an adopted object holds is still compared with what waits
		}
		for id, b := range h.blocks {
			if !b.planned && b.epoch == p.Epoch && catalogue.Overlap(b.runs, p.Runs) {
				delete(h.blocks, id) // archived and removed
			}
		}
	}
}

// copyBlocks copies the blocks that are left, and folds their events.
func (c *copier) copyBlocks(h *hourCopy) error {
	return c.each(appendHourKey(nil, prefixBlock, h.hour), func(key, value []byte) error {
		id, err := parseBlockKey(key)
		b := h.blocks[id]
		if err != nil || b == nil {
			return nil //nolint:nilerr // left out
		}
		if err := c.decoder.open(id, value); err != nil {
			return err
		}
		if err := c.fold(h, id); err != nil {
			return err
		}
		if err := c.set(key, value); err != nil {
			return err
		}
		c.count(b.epoch, b.responses, b.runs)
		c.report.blocks++
		if b.planned {
			return nil
		}
		c.waiting[b.epoch] = true
		c.report.waiting++
		return c.set(blockKey(prefixUnplanned, id), c.decoder.meta.append(nil))
	})
}

// fold adds the events of the block that was opened last to the rows of the hour: to the stored ones where they do not
// include its batch yet.
func (c *copier) fold(h *hourCopy, id catalogue.BlockID) error {
	keys := make([]stats.Key, len(c.decoder.columns.keys))
	for i, k := range c.decoder.columns.keys {
		keys[i] = stats.Key{Hour: h.hour, Host: strings.Clone(k.Host), Method: strings.Clone(k.Method), Label: strings.Clone(k.Label)}
	}
	return c.decoder.each(id, func(seq uint64, key uint32, e *event.Event) error {
		if hourOfMicros(e.TimeMicros) != h.hour {
			return fmt.Errorf("%w: block %s holds an event of another hour", ErrDamaged, blockName(id))
		}
		if !e.IsResponse() {
			c.drops.note(c.decoder.meta.epoch, seq, e)
			return nil
		}
		k := keys[key]
		if h.folded[k] == nil {
			h.folded[k] = &stats.Row{}
		}
		h.folded[k].Add(e)
		if h.rows[k] == nil {
			h.rows[k] = &savedRow{}
		}
		if row := h.rows[k]; row.includes < id.Batch {
			row.Add(e)
		}
		return nil
	})
}

// whole reports whether the stored rows are right.
func (h *hourCopy) whole() bool {
	if !h.known {
		return false
	}
	sum, held := uint64(0), uint64(0)
	for key, row := range h.rows {
		sum += row.Count
		folded := h.folded[key]
		if folded == nil {
			folded = &stats.Row{}
		}
		held += folded.Count
		if folded.Count > row.Count || (h.deleted == 0 && !sameRow(folded, &row.Row)) {
			return false
		}
	}
	return sum == held+h.deleted
}

func sameRow(a, b *stats.Row) bool {
	x, _ := a.AppendBinary(nil) // its error is always nil
	y, _ := b.AppendBinary(nil)
	return string(x) == string(y)
}

// writeRows writes the hour's rows: the stored ones if they are right, else those made of the events that are held. Then
// objects of removed events are kept as ones that the new store never counted.
func (c *copier) writeRows(h *hourCopy) error {
	rows := h.folded
	whole := h.whole()
	if whole {
		for key, row := range h.rows {
			rows[key] = &row.Row
		}
	} else {
		for _, p := range h.plans {
			if p.State == catalogue.Deleted {
				p.Elsewhere = p.Rows
			}
		}
	}
	sum := uint64(0)
	for key, row := range rows {
		sum += row.Count
		// Every batch that there is is in the row: the checkpoint will say so too.
		if err := c.set(appendRowKey(nil, &key), appendRow(nil, c.state.lastBatch, row)); err != nil {
			return err
		}
	}
	switch {
	case whole:
		c.report.whole++
		c.report.wholeResponses += sum
	case sum > 0:
		c.report.partial++
		c.report.inPart += sum
	default:
		c.report.gone++
	}
	return nil
}

func (c *copier) setPlan(p *catalogue.Plan) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode plan: %w", err)
	}
	key, err := planKey(p.State, p.ID)
	if err != nil {
		return fmt.Errorf("%w: state %q", ErrInvalid, p.State)
	}
	return c.out.Set(key, c.encoder.zstd.EncodeAll(text, []byte{planVersion})) //nolint:wrapcheck // as in set
}
