package store

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"
)

// broughtBackMax is the number of ledgers that one transaction brings back.
const broughtBackMax = 100

// returning is what a file of ledgers has and a store lacks.
type returning struct {
	sum     *storedLedger // takes the place of the store's
	gone    []uuid.UUID   // epochs with a ledger in the store that are in this sum
	ledgers []keptLedger  // unknown to the store, or newer than what it has
}

// lacking compares ledgers with those in the file. The oldest is always the first to be added to the sum, so the sum's order
// says which are in it, and the file may be older than the store as well as newer.
func (k *keptLedgers) lacking(have map[uuid.UUID]storedLedger) (r returning) {
	sum, summed := have[uuid.Nil]
	through := sum.Order
	for i := range k.Ledgers {
		if l := &k.Ledgers[i].storedLedger; l.Epoch == uuid.Nil && (!summed || l.Order > through) {
			r.sum, through = l, l.Order
		}
	}
	if r.sum != nil {
		for epoch, l := range have {
			if epoch != uuid.Nil && l.Order <= through {
				r.gone = append(r.gone, epoch)
			}
		}
	}
	for _, l := range k.Ledgers {
		known, ok := have[l.Epoch]
		if l.Epoch != uuid.Nil && l.Order > through && (!ok || l.changed() > known.changed()) {
			r.ledgers = append(r.ledgers, l)
		}
	}
	return r
}

// settle makes a finished epoch's ledger and what is left of it agree: what is missing counts as quarantined.
func (l *storedLedger) settle(mark *watermark) (missing uint64) {
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

// bringLedgersBack takes what the file beside the store has and the store lacks: one that was begun anew, or that is of an
// earlier moment. What is missing of those epochs counts as quarantined. Then the file is made what the store has. Open calls it
// when nothing else is wrong with the store; it may be called any number of times.
func (s *Store) bringLedgersBack() error {
	if s.o.RefuseDamaged {
		return nil
	}
	if k := s.o.kept; k != nil && k.damage == nil {
		missing, err := s.takeBack(k.lacking(s.ledgers), k.Stored)
		if err != nil {
			return fmt.Errorf("bring back ledgers: %w", err)
		}
		if missing > 0 {
			s.reportBroughtBack(missing)
		}
	}
	if err := s.keepLedgers(); err != nil { // the next ledger is not stored without it
		s.o.Logger.Warn("store: the ledgers are not kept beside the store for now", "error", err)
	}
	return nil
}

// takeBack writes them, some at a time, each in one transaction with what it changes of the figures.
func (s *Store) takeBack(r returning, stored uint64) (missing uint64, err error) {
	if r.sum != nil {
		if missing, err = s.takeSumBack(r); err != nil {
			return missing, err
		}
	}
	for chunk := range slices.Chunk(r.ledgers, broughtBackMax) {
		next, ledgers, marks := s.state, map[uuid.UUID]storedLedger{}, map[uuid.UUID]watermark{}
		next.ledgers = max(next.ledgers, stored)
		for _, l := range chunk {
			mark := s.watermarks[l.Epoch]
			mark.seq = max(mark.seq, l.Seq) // what its spool may still offer is not applied beside being counted
			next.totals.Quarantined += l.settle(&mark)
			ledgers[l.Epoch], marks[l.Epoch] = l.storedLedger, mark
		}
		if err := s.update(func(txn *badger.Txn) error { return writeBroughtBack(txn, next, ledgers, marks) }); err != nil {
			return missing, err
		}
		missing += next.totals.Quarantined - s.state.totals.Quarantined
		s.state = next
		for epoch, l := range ledgers {
			s.ledgers[epoch], s.watermarks[epoch] = l, marks[epoch]
		}
	}
	return missing, nil
}

func writeBroughtBack(txn *badger.Txn, next state, ledgers map[uuid.UUID]storedLedger, marks map[uuid.UUID]watermark) error {
	for epoch, l := range ledgers {
		mark := marks[epoch]
		if err := errors.Join(setLedger(txn, &l), set(txn, epochKey(prefixWatermark, epoch), mark.encode())); err != nil {
			return err
		}
	}
	return set(txn, []byte{prefixState}, next.encode())
}

// takeSumBack puts the file's sum in the place of the store's and of the ledgers that it includes.
func (s *Store) takeSumBack(r returning) (missing uint64, err error) {
	next, sum := s.state, *r.sum
	counted := s.ledgers[uuid.Nil].Recorded
	for _, epoch := range r.gone {
		counted += s.ledgers[epoch].Recorded
	}
	mark := watermark{applied: counted} // here, or counted as quarantined
	missing = sum.settle(&mark)
	next.totals.Quarantined += missing
	next.ledgers = max(next.ledgers, sum.Order)
	err = s.update(func(txn *badger.Txn) error {
		for _, epoch := range r.gone {
			if err := errors.Join(deleteKey(txn, epochKey(prefixLedger, epoch)), deleteKey(txn, epochKey(prefixWatermark, epoch))); err != nil {
				return err
			}
		}
		return errors.Join(setLedger(txn, &sum), set(txn, []byte{prefixState}, next.encode()))
	})
	if err != nil {
		return 0, err
	}
	s.state, s.ledgers[uuid.Nil] = next, sum
	for _, epoch := range r.gone {
		delete(s.ledgers, epoch)
		delete(s.watermarks, epoch)
	}
	return missing, nil
}

// reportBroughtBack leaves a report of responses that were lost with the store.
func (s *Store) reportBroughtBack(missing uint64) {
	reason := fmt.Sprintf("%d responses of finished epochs are known by the ledgers beside the store, and are not in the store", missing)
	name := s.o.Now().UTC().Format("20060102T150405.000000") + "-ledgers-loss.txt"
	if err := writeQuarantineFile(s.o.QuarantineDir, name, []byte(reason+"\n")); err != nil {
		s.o.Logger.Warn("store: the report on lost responses could not be written", "error", err)
	}
	s.o.Logger.Error("store: responses of finished epochs were lost with the store; they count as quarantined", "responses", missing)
}
