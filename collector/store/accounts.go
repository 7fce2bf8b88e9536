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

// Totals are the counters of the accounting, since the store was made. They count responses, not drop records.
type Totals struct {
	Applied     uint64 // in the rows
	Quarantined uint64 // set aside by Quarantine
	Archived    uint64 // applied, and verified in the archive
	Deleted     uint64 // archived, and removed here
}

// counters are the totals, and the numbers given out so far. They have one key, which every transaction that changes them writes.
type counters struct {
	lastBatch uint64
	nextPlan  uint64
	totals    Totals
	ledgers   uint64 // changes of ledgers so far: their order
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

// Accounts holds the totals and the state of each epoch: its watermark, its ledger, and whether it is reconciled with the archive.
type Accounts struct {
	*database

	// writeMu is held by the one writer of batches, totals, plans and ledgers. Only its holder changes the counters, so a writer reads them,
	// writes the new ones in its transaction, and stores them here afterwards.
	writeMu sync.Mutex
	backup  *ledgerBackup // guarded by writeMu

	mu              sync.Mutex // guards the fields below; locked before Statistics.mu
	counters        counters
	began           int64 // µs: when the store was made, or the time of the oldest event; 0: not known
	watermarks      map[uuid.UUID]watermark
	ledgers         map[uuid.UUID]storedLedger
	allUnreconciled bool               // every epoch is unreconciled, see unreconciled.go
	unreconciled    map[uuid.UUID]byte // epochs that are or were unreconciled
	refillDue       bool               // the archive may hold more of a lost store's responses, see refill.go

	becameDue chan struct{} // capacity 1
}

func newAccounts(d *database, backup *ledgerBackup) *Accounts {
	return &Accounts{
		database: d, backup: backup, becameDue: make(chan struct{}, 1),
		watermarks: map[uuid.UUID]watermark{}, ledgers: map[uuid.UUID]storedLedger{}, unreconciled: map[uuid.UUID]byte{},
	}
}

// load reads everything into memory, when the store is opened.
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

// setCounters stores counters that were written. The caller holds writeMu.
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

// writeEpoch writes an epoch's new watermark together with new counters, and, if that is so, that a refill is due. Then it stores
// all of it in memory. The caller holds writeMu.
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

// Totals returns the counters. To compare them with the sum of the rows, use [Store.Account], which reads both at one moment.
func (a *Accounts) Totals() (Totals, error) {
	if err := a.enter(); err != nil {
		return Totals{}, err
	}
	defer a.leave()
	return a.current().totals, nil
}

// Watermarks are, for each epoch seen and not forgotten, the sequence number up to which its events are applied or quarantined.
func (a *Accounts) Watermarks() map[uuid.UUID]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make(map[uuid.UUID]uint64, len(a.watermarks))
	for epoch, w := range a.watermarks {
		out[epoch] = w.seq
	}
	return out
}

// Mark is how far an epoch was taken into the store.
type Mark struct {
	Seq         uint64 // its events are applied or quarantined up to here
	Applied     uint64 // responses
	Quarantined uint64 // responses
	From        uint64 // the first sequence number that was applied as it came from the spool; 0: none was
	Open        bool   // events behind Seq were lost, and none has been applied since
}

// Marks is [Accounts.Watermarks] with the number of responses.
func (a *Accounts) Marks() map[uuid.UUID]Mark {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make(map[uuid.UUID]Mark, len(a.watermarks))
	for epoch, w := range a.watermarks {
		out[epoch] = Mark{Seq: w.seq, Applied: w.applied, Quarantined: w.quarantined, From: w.from, Open: w.open()}
	}
	return out
}

// RefillBecameDue receives a value each time that a refill has become due since the store was opened.
func (a *Accounts) RefillBecameDue() <-chan struct{} { return a.becameDue }

// writeRefillDue writes that a refill is due, if it is.
func writeRefillDue(txn *badger.Txn, due bool) error {
	if !due {
		return nil
	}
	return set(txn, []byte{prefixRefill}, nil)
}

// noteRefillDue notes a refill whose key was written. The caller holds mu.
func (a *Accounts) noteRefillDue() {
	a.refillDue = true
	select {
	case a.becameDue <- struct{}{}:
	default:
	}
}

// RefillDue reports whether the store is to be refilled from the archive.
func (a *Accounts) RefillDue() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refillDue
}

// EndRefill records that everything the archive can give was refilled.
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

// Refillable reports whether responses of an epoch may have been lost, as far as spools and ledgers know, and which of the epoch's
// events this store took from the spool.
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

// unnamed is the number of quarantined responses in the sum of the oldest ledgers, which names no epochs. The caller holds mu.
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
