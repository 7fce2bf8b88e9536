package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// Totals are the counters of the accounting since the store was created. They count responses, not drop records.
type Totals struct {
	Applied     uint64 // counted in the rows
	Quarantined uint64 // quarantined; see Quarantine
	Archived    uint64 // applied and verified in the archive
	Deleted     uint64 // archived and deleted from the store
}

// counters are the totals and the latest assigned numbers. They are stored together under one key, which is written by every transaction
// that changes any of them.
type counters struct {
	lastBatch uint64
	nextPlan  uint64
	totals    Totals
	ledgers   uint64 // number of ledger changes so far, which orders the ledgers
}

func (c *counters) fields() [7]*uint64 {
	t := &c.totals
	return [...]*uint64{&c.lastBatch, &c.nextPlan, &t.Applied, &t.Quarantined, &t.Archived, &t.Deleted, &c.ledgers}
}

func (c counters) encode() []byte {
	var out []byte
	for _, field := range c.fields() {
		out = binary.LittleEndian.AppendUint64(out, *field)
	}
	return out
}

func decodeCounters(v []byte) (c counters, err error) {
	fields := c.fields()
	if len(v) != 8*len(fields) {
		return c, fmt.Errorf("%w: counters of %d bytes", ErrDamaged, len(v))
	}
	for i, field := range fields {
		*field = binary.LittleEndian.Uint64(v[8*i:])
	}
	return c, nil
}

func (c counters) write(txn *badger.Txn) error { return set(txn, []byte{prefixCounters}, c.encode()) }

// Accounts holds the totals and the state of each epoch: its watermark, its ledger, and whether the epoch has been reconciled with the
// archive.
type Accounts struct {
	*database

	// writeMu is held by the only writer of batches, totals, plans and ledgers. Only the holder of writeMu changes the counters: it reads
	// them, writes the new ones in its transaction, and stores them here afterwards.
	writeMu sync.Mutex
	backup  *ledgerBackup // guarded by writeMu

	mu              sync.Mutex // guards the fields below; locked before Statistics.mu
	counters        counters
	began           int64 // µs: when the store was created, or the time of the oldest event; 0: unknown
	watermarks      map[uuid.UUID]watermark
	ledgers         map[uuid.UUID]storedLedger
	allUnreconciled bool               // whether every epoch is unreconciled, see unreconciled.go
	unreconciled    map[uuid.UUID]byte // epochs that are or were unreconciled
	refillDue       bool               // responses of a lost store may still have to be refilled from the archive; see refill.go

	becameDue chan struct{} // capacity 1
}

func newAccounts(d *database, backup *ledgerBackup) *Accounts {
	return &Accounts{
		database: d, backup: backup, becameDue: make(chan struct{}, 1),
		watermarks: map[uuid.UUID]watermark{}, ledgers: map[uuid.UUID]storedLedger{}, unreconciled: map[uuid.UUID]byte{},
	}
}

// load reads everything into memory when the store is opened.
func (a *Accounts) load(txn *badger.Txn) error {
	_, err := get(txn, []byte{prefixCounters}, func(v []byte) (err error) {
		a.counters, err = decodeCounters(v)
		return err
	})
	if err != nil {
		return err
	}
	err = each(context.Background(), txn, []byte{prefixWatermark}, nil, func(key, value []byte) error {
		epoch, err := uuid.FromBytes(key[1:])
		if err != nil {
			return fmt.Errorf("%w: watermark key %x", ErrDamaged, key)
		}
		a.watermarks[epoch], err = decodeWatermark(value)
		return err
	})
	if err != nil {
		return err
	}
	if a.refillDue, err = has(txn, []byte{prefixRefill}); err != nil {
		return err
	}
	if err := a.loadUnreconciled(txn); err != nil {
		return err
	}
	return a.loadLedgers(txn)
}

// current returns the counters.
func (a *Accounts) current() counters {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counters
}

// setCounters updates the counters in memory after they have been written. The caller holds writeMu.
func (a *Accounts) setCounters(c counters) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counters = c
}

func (a *Accounts) watermark(epoch uuid.UUID) (watermark, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, known := a.watermarks[epoch]
	return w, known
}

// writeEpoch writes an epoch's new watermark and the new counters. If due is set, it also records that a refill is due. Then it updates
// the copies in memory. The caller holds writeMu.
func (a *Accounts) writeEpoch(epoch uuid.UUID, mark watermark, next counters, due bool) error {
	err := a.update(func(txn *badger.Txn) error {
		return errors.Join(writeRefillDue(txn, due), mark.write(txn, epoch), next.write(txn))
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counters, a.watermarks[epoch] = next, mark
	if due {
		a.noteRefillDue()
	}
	return nil
}

// Totals returns the counters. To compare them with the sum of the rows, use [Store.Account], which reads both
// consistently.
func (a *Accounts) Totals() (Totals, error) {
	if err := a.enter(); err != nil {
		return Totals{}, err
	}
	defer a.leave()
	return a.current().totals, nil
}

// Watermarks returns, for each epoch that the store has seen and not forgotten, the sequence number up to which its events have been
// applied or quarantined.
func (a *Accounts) Watermarks() map[uuid.UUID]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make(map[uuid.UUID]uint64, len(a.watermarks))
	for epoch, w := range a.watermarks {
		out[epoch] = w.seq
	}
	return out
}

// Mark describes which events of an epoch the store has applied or quarantined.
type Mark struct {
	Seq         uint64 // events up to this number have been applied or quarantined
	Applied     uint64 // number of responses
	Quarantined uint64 // number of responses
	From        uint64 // the first sequence number that was applied from the spool; 0: none was
	Open        bool   // events after Seq were lost, and no event has been applied since
}

// Marks is like [Accounts.Watermarks], but also returns the numbers of responses.
func (a *Accounts) Marks() map[uuid.UUID]Mark {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make(map[uuid.UUID]Mark, len(a.watermarks))
	for epoch, w := range a.watermarks {
		out[epoch] = Mark{Seq: w.seq, Applied: w.applied, Quarantined: w.quarantined, From: w.from, Open: w.open()}
	}
	return out
}

// RefillBecameDue returns a channel that receives a value each time a refill becomes due while the store is open.
func (a *Accounts) RefillBecameDue() <-chan struct{} { return a.becameDue }

// writeRefillDue records in the store that a refill is due, unless due is false.
func writeRefillDue(txn *badger.Txn, due bool) error {
	if !due {
		return nil
	}
	return set(txn, []byte{prefixRefill}, nil)
}

// noteRefillDue records in memory that a refill is due. writeRefillDue has already recorded it in the store. The caller holds mu.
func (a *Accounts) noteRefillDue() {
	a.refillDue = true
	select {
	case a.becameDue <- struct{}{}:
	default:
	}
}

// RefillDue reports whether the store still has to be refilled from the archive.
func (a *Accounts) RefillDue() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refillDue
}

// EndRefill records that the refill is complete.
func (a *Accounts) EndRefill() error {
	a.writeMu.Lock()
	defer a.writeMu.Unlock()
	if err := a.updateOnce(func(txn *badger.Txn) error { return deleteKey(txn, []byte{prefixRefill}) }); err != nil {
		return fmt.Errorf("end the refill: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refillDue = false
	return nil
}

// Refillable reports whether, according to the spools and ledgers, responses of an epoch may have been lost. It also returns the sequence
// numbers of the epoch's events that this store took from the spool.
func (a *Accounts) Refillable(epoch uuid.UUID) (taken []catalogue.Run, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	mark := a.watermarks[epoch]
	return mark.taken(), a.named(epoch) || a.unnamed() > 0
}

// named reports whether a spool or a ledger names an epoch. The caller holds mu.
func (a *Accounts) named(epoch uuid.UUID) bool {
	_, finished := a.ledgers[epoch]
	_, known := a.watermarks[epoch]
	return finished || known || a.unreconciled[epoch] != 0
}

// unnamed returns the number of quarantined responses in the sum of the oldest ledgers; that sum does not name epochs. The caller holds
// mu.
func (a *Accounts) unnamed() uint64 {
	if _, summed := a.ledgers[uuid.Nil]; !summed {
		return 0
	}
	n := a.counters.totals.Quarantined
	for _, mark := range a.watermarks {
		n -= min(n, mark.quarantined)
	}
	return n
}
