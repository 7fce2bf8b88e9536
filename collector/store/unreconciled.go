package store

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"
)

// A store that replaced a lost one has no record of what the lost store had archived. The spool offers events again that were applied but
// not yet acknowledged, and archive objects may already contain them. An epoch with such events is unreconciled until the archive has
// been checked and its objects are in the catalogue. The uploader does this before it archives any event of the epoch.
//
// Until the spools have reported their epochs, every epoch is unreconciled. After that, only the reported epochs are unreconciled, and
// epochs that begin later are not.

// Values of an unreconciled epoch's key. They are part of the format.
const (
	epochUnreconciled byte = 1 // the epoch's objects in the archive are not in the catalogue yet
	epochImported     byte = 2 // the objects are in the catalogue; events are still compared with them before being archived
)

func (a *Accounts) loadUnreconciled(txn *badger.Txn) error {
	return each(context.Background(), txn, []byte{prefixUnreconciled}, nil, func(key, value []byte) error {
		if len(key) == 1 {
			a.allUnreconciled = true
			return nil
		}
		epoch, err := uuid.FromBytes(key[1:])
		if err != nil || len(value) != 1 {
			return fmt.Errorf("%w: unreconciled epoch %x", ErrDamaged, key)
		}
		a.unreconciled[epoch] = value[0]
		return nil
	})
}

// Unreconciled reports whether archive objects that another store wrote may contain events of an epoch, and whether
// these objects have since been imported into the catalogue ([Accounts.MarkImported]).
func (a *Accounts) Unreconciled(epoch uuid.UUID) (unreconciled, imported bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	state, known := a.unreconciled[epoch]
	return known || a.allUnreconciled, state == epochImported
}

// MarkUnreconciled durably makes an epoch unreconciled, because the store has lost some of its events.
func (a *Accounts) MarkUnreconciled(epoch uuid.UUID) error {
	return a.setEpoch(epoch, epochUnreconciled)
}

// MarkImported durably records that the catalogue has all of an epoch's objects that are in the archive.
func (a *Accounts) MarkImported(epoch uuid.UUID) error { return a.setEpoch(epoch, epochImported) }

// LimitUnreconciled takes the epochs that exist. If all epochs are unreconciled, it durably limits this state to the given epochs,
// because an epoch that begins later cannot have been in another store.
func (a *Accounts) LimitUnreconciled(epochs []uuid.UUID) error {
	a.mu.Lock()
	all := a.allUnreconciled
	a.mu.Unlock()
	if !all {
		return nil
	}
	for _, epoch := range epochs {
		if _, imported := a.Unreconciled(epoch); imported {
			continue
		}
		if err := a.setEpoch(epoch, epochUnreconciled); err != nil {
			return err
		}
	}
	a.writeMu.Lock()
	defer a.writeMu.Unlock()
	if err := a.updateOnce(func(txn *badger.Txn) error { return deleteKey(txn, []byte{prefixUnreconciled}) }); err != nil {
		return fmt.Errorf("record which epochs are unreconciled: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.allUnreconciled = false
	return nil
}

func (a *Accounts) setEpoch(epoch uuid.UUID, state byte) error {
	a.writeMu.Lock()
	defer a.writeMu.Unlock()
	err := a.updateOnce(func(txn *badger.Txn) error { return set(txn, epochKey(prefixUnreconciled, epoch), []byte{state}) })
	if err != nil {
		return fmt.Errorf("record that epoch %s is unreconciled: %w", epoch, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unreconciled[epoch] = state
	return nil
}

// markAllUnreconciled makes every epoch unreconciled. Epochs that are in the store stay unreconciled until they are imported; all others,
// only until the spools have reported their epochs. Only Open calls it.
func (a *Accounts) markAllUnreconciled() error {
	known := make(map[uuid.UUID]byte, len(a.watermarks))
	err := a.update(func(txn *badger.Txn) error {
		for epoch := range a.watermarks {
			known[epoch] = epochUnreconciled
			if err := set(txn, epochKey(prefixUnreconciled, epoch), []byte{epochUnreconciled}); err != nil {
				return err
			}
		}
		return set(txn, []byte{prefixUnreconciled}, nil)
	})
	if err != nil {
		return fmt.Errorf("record that the archive may hold more than the catalogue: %w", err)
	}
	a.unreconciled, a.allUnreconciled = known, true
	return nil
}
