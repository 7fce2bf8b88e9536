package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"
)

// restoreChunk is the number of ledgers that one transaction restores.
const restoreChunk = 100

// missingLedgers are the ledgers that the backup has and the store lacks.
type missingLedgers struct {
	sum     *storedLedger    // replaces the store's sum; nil: the store keeps its own
	inSum   []uuid.UUID      // epochs that are included in sum but have their own ledger in the store
	ledgers []backedUpLedger // unknown to the store, or newer than the store's
}

// missingFrom compares the backup with the store's ledgers. Only the oldest ledger is ever moved into the sum. So the order number of a
// sum determines which ledgers it includes, whether the backup is older or newer than the store.
func (c *backupContent) missingFrom(have map[uuid.UUID]storedLedger) (m missingLedgers) {
	sum, summed := have[uuid.Nil]
	through := sum.Order
	for i := range c.Ledgers {
		if l := &c.Ledgers[i].storedLedger; l.Epoch == uuid.Nil && (!summed || l.Order > through) {
			m.sum, through = l, l.Order
		}
	}
	if m.sum != nil {
		for epoch, l := range have {
			if epoch != uuid.Nil && l.Order <= through {
				m.inSum = append(m.inSum, epoch)
			}
		}
	}
	for _, l := range c.Ledgers {
		known, ok := have[l.Epoch]
		if l.Epoch != uuid.Nil && l.Order > through && (!ok || l.changed() > known.changed()) {
			m.ledgers = append(m.ledgers, l)
		}
	}
	return m
}

// reconcile makes the ledger and the watermark of a finished epoch agree: responses that are in the ledger but not in the watermark are
// counted as quarantined.
func (l *storedLedger) reconcile(mark *watermark) (missing uint64) {
	have := mark.applied + mark.quarantined
	if l.Recorded >= have {
		missing = l.Recorded - have
		mark.quarantined += missing
		return missing
	}
	l.Responses += have - l.Recorded
	l.Recorded = have
	return 0
}

// restoreLedgers restores ledgers that are missing from the store because it is new or has returned to an earlier state. The responses of
// these epochs that the store does not have are counted as quarantined. Then restoreLedgers brings the backup up to date. Open calls it
// after the checks have found no damage. Another call changes nothing.
func (a *Accounts) restoreLedgers() error {
	if a.o.RefuseDamaged {
		return nil
	}
	if a.backup.damage == nil {
		missing, err := a.restore(a.backup.missingFrom(a.ledgers))
		if err != nil {
			return fmt.Errorf("restore ledgers: %w", err)
		}
		if missing > 0 {
			a.reportLoss(missing)
		}
	}
	if err := a.backUpLedgers(); err != nil { // while this fails, no further ledger is stored
		a.o.Logger.Warn("store: cannot write the backup of the ledgers; trying again when the next ledger is stored", "error", err)
	}
	return nil
}

// restore writes missing ledgers in chunks. Each chunk is written in one transaction together with the counters that it changes.
func (a *Accounts) restore(m missingLedgers) (missing uint64, err error) {
	if m.sum != nil {
		if missing, err = a.restoreSum(m); err != nil {
			return missing, err
		}
	}
	for chunk := range slices.Chunk(m.ledgers, restoreChunk) {
		next, marks := a.counters, map[uuid.UUID]watermark{}
		next.ledgers = max(next.ledgers, a.backup.Stored)
		for i := range chunk {
			l := &chunk[i]
			mark := a.watermarks[l.Epoch]
			missing := l.reconcile(&mark)
			if next.totals.Quarantined += missing; missing > 0 {
				mark.lost()
			}
			mark.seq = max(mark.seq, l.Seq) // events that the spool may still offer have already been counted
			marks[l.Epoch] = mark
		}
		err := a.update(func(txn *badger.Txn) error {
			if err := writeRefillDue(txn, next.totals.Quarantined > a.counters.totals.Quarantined); err != nil {
				return err
			}
			for i := range chunk {
				l := &chunk[i]
				if err := errors.Join(l.write(txn), marks[l.Epoch].write(txn, l.Epoch)); err != nil {
					return err
				}
			}
			return next.write(txn)
		})
		if err != nil {
			return missing, err
		}
		missing += next.totals.Quarantined - a.counters.totals.Quarantined
		a.refillDue = a.refillDue || missing > 0
		a.counters = next
		for _, l := range chunk {
			a.ledgers[l.Epoch], a.watermarks[l.Epoch] = l.storedLedger, marks[l.Epoch]
		}
	}
	return missing, nil
}

// restoreSum replaces the store's sum, and removes the ledgers that are included in the new sum.
func (a *Accounts) restoreSum(m missingLedgers) (missing uint64, err error) {
	next, sum := a.counters, *m.sum
	counted := a.ledgers[uuid.Nil].Recorded
	for _, epoch := range m.inSum {
		counted += a.ledgers[epoch].Recorded
	}
	mark := watermark{applied: counted} // these responses were applied here or counted as quarantined
	missing = sum.reconcile(&mark)
	next.totals.Quarantined += missing
	next.ledgers = max(next.ledgers, sum.Order)
	err = a.update(func(txn *badger.Txn) error {
		for _, epoch := range m.inSum {
			if err := errors.Join(deleteKey(txn, epochKey(prefixLedger, epoch)), deleteKey(txn, epochKey(prefixWatermark, epoch))); err != nil {
				return err
			}
		}
		return errors.Join(writeRefillDue(txn, missing > 0), sum.write(txn), next.write(txn))
	})
	if err != nil {
		return 0, err
	}
	a.refillDue = a.refillDue || missing > 0
	a.counters, a.ledgers[uuid.Nil] = next, sum
	for _, epoch := range m.inSum {
		delete(a.ledgers, epoch)
		delete(a.watermarks, epoch)
	}
	return missing, nil
}

// reportLoss writes a report about responses that were lost with the store.
func (a *Accounts) reportLoss(missing uint64) {
	reason := fmt.Sprintf("%d responses of finished epochs are in the ledgers beside the store, but not in the store", missing)
	name := a.o.Now().UTC().Format(stampLayout) + "-ledgers-loss.txt"
	if err := writeQuarantineFile(a.o.QuarantineDir, name, []byte(reason+"\n")); err != nil {
		a.o.Logger.Warn("store: cannot write the report about lost responses; continuing without it", "error", err)
	}
	a.o.Logger.Error("store: responses of finished epochs were lost with the store; they count as quarantined", "responses", missing)
}

// backUpLedgers brings the backup up to date with the store's ledgers. It is called by Open, or with writeMu held.
func (a *Accounts) backUpLedgers() error {
	if a.o.RefuseDamaged {
		return nil
	}
	a.mu.Lock()
	c := backupContent{Stored: a.counters.ledgers, Ledgers: make([]backedUpLedger, 0, len(a.ledgers))}
	for epoch, l := range a.ledgers {
		c.Ledgers = append(c.Ledgers, backedUpLedger{storedLedger: l, Seq: a.watermarks[epoch].seq})
	}
	a.mu.Unlock()
	slices.SortFunc(c.Ledgers, func(x, y backedUpLedger) int {
		if x.Epoch == uuid.Nil || y.Epoch == uuid.Nil {
			return bytes.Compare(x.Epoch[:], y.Epoch[:])
		}
		return cmp.Compare(x.Order, y.Order)
	})
	return a.backup.write(a.o, c)
}
