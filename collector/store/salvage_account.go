package store

import (
	"encoding/binary"
	"encoding/json"
	"maps"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/stats"
)

// copyOthers copies what belongs to no hour. The path table is of a piece: it is carried over if none of it can be missing.
func (c *copier) copyOthers() error {
	copyAll := func(key, value []byte) error { return c.set(key, value) }
	if c.report.paths = !c.lost.touches([]byte{prefixPath}); c.report.paths {
		if err := c.each([]byte{prefixPath}, copyAll); err != nil {
			return err
		}
	}
	if err := c.copyDrops(); err != nil {
		return err
	}
	if err := c.each([]byte{prefixJob}, copyAll); err != nil {
		return err
	}
	return c.each([]byte{prefixCapacity}, func(key, value []byte) error {
		if !isSample(key) {
			return nil
		}
		return c.set(key, value)
	})
}

// copyDrops copies what drop records told by the hour, with those of the blocks that were carried over.
func (c *copier) copyDrops() error {
	c.report.drops = !c.lost.touches([]byte{prefixDrops})
	err := c.each([]byte{prefixDrops}, func(key, value []byte) error {
		k, err := parseDropsKey(key)
		if err == nil {
			var told stats.Told
			if told, err = openDrops(value); err == nil {
				c.drops.merge(k, told)
			}
		}
		c.report.drops = c.report.drops && err == nil
		return nil
	})
	if err != nil {
		return err
	}
	for key, told := range c.drops {
		if err := c.set(key.bytes(), appendDrops(told)); err != nil {
			return err
		}
	}
	return nil
}

// writeAccounts writes watermarks, ledgers, doubts and totals so that they agree with what was carried over.
//
// A watermark that is known stands. Of an epoch whose watermark is not, it is the largest sequence number that was carried
// over: every event beyond it that was applied is not here, so applying it, should the spool offer it again, counts nothing
// twice. It may be in the archive, as may every block that waits: the epochs are in doubt.
func (c *copier) writeAccounts() error {
	marks, ledgers := map[uuid.UUID]watermark{}, map[uuid.UUID]storedLedger{}
	err := c.each([]byte{prefixWatermark}, func(key, value []byte) error {
		epoch, err := uuid.FromBytes(key[1:])
		if err != nil {
			return nil //nolint:nilerr // not known
		}
		if mark, err := decodeWatermark(value); err == nil {
			marks[epoch] = watermark{seq: mark.seq, quarantined: mark.quarantined}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = c.each([]byte{prefixLedger}, func(_, value []byte) error {
		var l storedLedger
		if json.Unmarshal(value, &l) == nil {
			ledgers[l.Epoch] = l
			c.state.ledgers = max(c.state.ledgers, l.changed())
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.addKept(marks, ledgers)
	unknown := uint64(0) // responses of epochs with neither watermark nor ledger
	for epoch, n := range c.held {
		mark, known := marks[epoch]
		if _, finished := ledgers[epoch]; !known && !finished {
			unknown += n
		}
		if !known && n > 0 {
			c.report.unsureMark++
		}
		mark.applied = n
		mark.seq = max(mark.seq, c.last[epoch])
		marks[epoch] = mark
	}
	c.settleLedgers(marks, ledgers, unknown)
	return c.writeMarks(marks, ledgers)
}

// addKept adds the ledgers beside the store to those that were found in it. The watermark of a finished epoch is where it ended,
// so that nothing of it is applied again beside being counted as quarantined.
func (c *copier) addKept(marks map[uuid.UUID]watermark, ledgers map[uuid.UUID]storedLedger) {
	if c.kept == nil || c.kept.damage != nil {
		return
	}
	r := c.kept.lacking(ledgers)
	if r.sum != nil {
		ledgers[uuid.Nil] = *r.sum
	}
	for _, epoch := range r.gone {
		delete(ledgers, epoch)
		delete(marks, epoch)
	}
	for _, l := range r.ledgers {
		ledgers[l.Epoch] = l.storedLedger
	}
	for _, l := range c.kept.Ledgers {
		if _, finished := ledgers[l.Epoch]; finished && l.Epoch != uuid.Nil {
			mark := marks[l.Epoch]
			mark.seq = max(mark.seq, l.Seq)
			marks[l.Epoch] = mark
		}
	}
	c.state.ledgers = max(c.state.ledgers, c.kept.Stored)
}

// settleLedgers makes the ledgers of finished epochs agree with what is left of them: what is missing is quarantined, as the
// spools' own ledgers have it done for the epochs that are not finished.
func (c *copier) settleLedgers(marks map[uuid.UUID]watermark, ledgers map[uuid.UUID]storedLedger, unknown uint64) {
	for epoch, l := range ledgers {
		if epoch == uuid.Nil {
			// The sum of epochs that have no ledger of their own: those found here get one of what is held of them (the
			// collector gives it to them), which is taken out of the sum; what is left of it is not here.
			back := min(unknown, l.Recorded)
			l.Recorded -= back
			l.Responses -= min(back, l.Responses)
			c.state.totals.Quarantined += l.Recorded
			ledgers[epoch] = l
			continue
		}
		mark := marks[epoch]
		l.settle(&mark)
		marks[epoch], ledgers[epoch] = mark, l
	}
	for _, mark := range marks {
		c.state.totals.Quarantined += mark.quarantined
	}
}

func (c *copier) writeMarks(marks map[uuid.UUID]watermark, ledgers map[uuid.UUID]storedLedger) error {
	c.report.epochs, c.report.ledgers = len(marks), len(ledgers)
	for epoch, mark := range marks {
		if err := c.set(epochKey(prefixWatermark, epoch), mark.encode()); err != nil {
			return err
		}
	}
	for epoch, l := range ledgers {
		text, err := json.Marshal(l)
		if err != nil {
			return err //nolint:wrapcheck // cannot be: it was just decoded
		}
		if err := c.set(epochKey(prefixLedger, epoch), text); err != nil {
			return err
		}
	}
	for epoch := range maps.Keys(c.waiting) {
		if err := c.set(epochKey(prefixDoubt, epoch), []byte{doubtOpen}); err != nil {
			return err
		}
	}
	schema := binary.LittleEndian.AppendUint32(nil, SchemaVersion)
	schema = binary.LittleEndian.AppendUint64(schema, uint64(c.now().UnixMicro())) //nolint:gosec // informative
	for _, pair := range [...]struct{ key, value []byte }{
		{[]byte{prefixDoubt}, nil}, // all epochs, until the spools have said which there are
		{[]byte{prefixCheckpoint}, binary.LittleEndian.AppendUint64(nil, c.state.lastBatch)},
		{[]byte{prefixState}, c.state.encode()},
		{[]byte{prefixSchema}, schema},
	} {
		if err := c.set(pair.key, pair.value); err != nil {
			return err
		}
	}
	return nil
}
