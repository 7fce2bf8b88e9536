package store

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"
)

// A store that was begun where there had been another does not know what the other one archived: the spool offers events
// again that were applied and not yet acknowledged, and they may stand in archive objects already. Until the archive was
// asked, the epochs concerned are in doubt, and whoever archives asks first.
//
// Before the spools have said which epochs there are, all are in doubt; afterwards those, and no later one.

// What a doubt's value says. Part of the format.
const (
	doubtOpen    byte = 1 // what the archive holds of the epoch is not in the catalogue
	doubtEntered byte = 2 // it is; what comes to be archived is still compared with it
)

// loadDoubts reads which epochs are in doubt.
func (s *Store) loadDoubts(txn *badger.Txn) error {
	return each(txn, []byte{prefixDoubt}, nil, func(key, value []byte) error {
		if len(key) == 1 {
			s.doubtAll = true
			return nil
		}
		epoch, err := uuid.FromBytes(key[1:])
		if err != nil || len(value) != 1 {
			return fmt.Errorf("%w: doubt %x", ErrDamaged, key)
		}
		s.doubts[epoch] = value[0]
		return nil
	})
}

// Doubtful reports whether events of an epoch may stand in archive objects that another store made, and whether those that
// the archive held have been entered into the catalogue since ([Store.MarkEntered]).
func (s *Store) Doubtful(epoch uuid.UUID) (doubtful, entered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, known := s.doubts[epoch]
	return known || s.doubtAll, d == doubtEntered
}

// Doubt puts an epoch in doubt, synced: the store came back without events of it that it had.
func (s *Store) Doubt(epoch uuid.UUID) error { return s.setDoubts(epoch, doubtOpen, false) }

// MarkEntered records, synced, that what the archive holds of an epoch is in the catalogue.
func (s *Store) MarkEntered(epoch uuid.UUID) error { return s.setDoubts(epoch, doubtEntered, false) }

// NarrowDoubt says which epochs there are. Where all are in doubt only these remain so, synced: an epoch that begins later
// was never in another store.
func (s *Store) NarrowDoubt(epochs []uuid.UUID) error {
	s.mu.Lock()
	all := s.doubtAll
	s.mu.Unlock()
	if !all {
		return nil
	}
	for _, epoch := range epochs {
		if _, entered := s.Doubtful(epoch); entered {
			continue
		}
		if err := s.setDoubts(epoch, doubtOpen, false); err != nil {
			return err
		}
	}
	return s.setDoubts(uuid.Nil, 0, true)
}

func (s *Store) setDoubts(epoch uuid.UUID, doubt byte, narrowed bool) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	err := s.update(func(txn *badger.Txn) error {
		if narrowed {
			return deleteKey(txn, []byte{prefixDoubt})
		}
		return set(txn, epochKey(prefixDoubt, epoch), []byte{doubt})
	})
	if err != nil {
		return fmt.Errorf("note what the archive may hold: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if narrowed {
		s.doubtAll = false
	} else {
		s.doubts[epoch] = doubt
	}
	return nil
}
