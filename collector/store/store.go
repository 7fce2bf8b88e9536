package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// Totals are the counters of the accounting, since the store was made. They count responses, not drop records.
type Totals struct {
	Applied     uint64 // in the rows
	Quarantined uint64 // set aside by Quarantine
	Archived    uint64 // applied, and verified in the archive
	Deleted     uint64 // archived, and removed here
}

// state is what one key holds durably besides the totals.
type state struct {
	lastBatch uint64
	nextPlan  uint64
	totals    Totals
	ledgers   uint64 // ledgers stored so far: their order
}

const stateBytes = 7 * 8

func (s state) encode() []byte {
	out := make([]byte, 0, stateBytes)
	for _, v := range [...]uint64{
		s.lastBatch, s.nextPlan, s.totals.Applied, s.totals.Quarantined, s.totals.Archived, s.totals.Deleted, s.ledgers,
	} {
		out = binary.LittleEndian.AppendUint64(out, v)
	}
	return out
}

func decodeState(v []byte) (s state, err error) {
	if len(v) != stateBytes {
		return s, fmt.Errorf("%w: state of %d bytes", ErrDamaged, len(v))
	}
	for i, field := range [...]*uint64{
		&s.lastBatch, &s.nextPlan, &s.totals.Applied, &s.totals.Quarantined, &s.totals.Archived, &s.totals.Deleted, &s.ledgers,
	} {
		*field = binary.LittleEndian.Uint64(v[8*i:])
	}
	return s, nil
}

// watermark is how far an epoch has been taken into the store. Its events from the sequence number "from" on were applied here, as
// they came from the spool; 0: none was. What an archive holds of earlier ones may be counted by a refill.
type watermark struct{ seq, applied, quarantined, from uint64 }

func (w watermark) encode() []byte {
	out := binary.LittleEndian.AppendUint64(make([]byte, 0, 32), w.seq)
	out = binary.LittleEndian.AppendUint64(out, w.applied)
	out = binary.LittleEndian.AppendUint64(out, w.quarantined)
	return binary.LittleEndian.AppendUint64(out, w.from)
}

func decodeWatermark(v []byte) (w watermark, err error) {
	if len(v) != 24 && len(v) != 32 {
		return w, fmt.Errorf("%w: watermark of %d bytes", ErrDamaged, len(v))
	}
	w = watermark{
		seq: binary.LittleEndian.Uint64(v), applied: binary.LittleEndian.Uint64(v[8:]), quarantined: binary.LittleEndian.Uint64(v[16:]), from: 1,
	}
	if len(v) == 32 { // until schema 4 it was not noted
		w.from = binary.LittleEndian.Uint64(v[24:])
	}
	return w, nil
}

// Store is an open store. Its methods are safe for concurrent use.
//
// Locks are taken in the order of the fields: flattenMu, checkpointMu, writeMu, rollupMu, rowsMu, mu.
type Store struct {
	o    Options
	db   *badger.DB
	lock *os.File // held for the life of the store

	flattenMu    sync.Mutex // one Flatten at a time
	checkpointMu sync.Mutex // one checkpoint at a time

	writeMu sync.Mutex   // one writer of batches, totals, plans and ledgers at a time
	apply   *applyBuffer // owned by the holder of writeMu

	rollupMu sync.Mutex     // one Rollup at a time, and none while rows are forgotten
	keptFrom map[byte]int64 // guarded by rollupMu, by tier: spans before this one were removed

	// rowsMu keeps the persisted rows and the live rows' memory of them in step: held while a checkpoint writes rows, and
	// while the persisted rows are summed.
	rowsMu   sync.Mutex
	hourSums map[int64]uint64 // guarded by rowsMu: counts of the persisted rows by hour; nil before the first sum
	stale    map[int64]bool   // guarded by rowsMu: hours whose rows have changed since they were summed

	mu            sync.Mutex // guards what follows
	state         state
	began         int64  // µs: when the store was made, or the oldest event's time; 0: not known
	checkpointed  uint64 // batches up to this one are included in the persisted rows
	watermarks    map[uuid.UUID]watermark
	ledgers       map[uuid.UUID]storedLedger
	doubtAll      bool               // every epoch is in doubt, see doubt.go
	doubts        map[uuid.UUID]byte // epochs in doubt
	refillDue     bool               // the archive may hold more of what a lost store had, see refill.go
	live          map[stats.Key]*liveRow
	namesComplete bool                    // owned by load: the index of names was there
	names         map[string]nameSpan     // of every row, persisted or live
	rowWrites     uint64                  // transactions that wrote rows
	summed        map[byte]map[int64]bool // by prefix of the mark: spans that are known to have sums
	readers       int                     // of rows; while there are any, no live row is evicted
	generation    uint64
	damagedRows   uint64
	undeleted     uint64 // events deleted since the last flatten
	flattenedAt   time.Time
	written       int64 // bytes of blocks since the last pageout
	pagedOutAt    time.Time

	failed atomic.Pointer[error]

	useMu   sync.Mutex
	useDone sync.Cond
	uses    int  // guarded by useMu: calls in progress
	closed  bool // guarded by useMu
}

func newStore(o Options) (*Store, error) {
	buffer, err := newApplyBuffer()
	if err != nil {
		return nil, err
	}
	s := &Store{
		o: o, apply: buffer,
		stale:      map[int64]bool{},
		watermarks: map[uuid.UUID]watermark{},
		ledgers:    map[uuid.UUID]storedLedger{},
		doubts:     map[uuid.UUID]byte{},
		live:       map[stats.Key]*liveRow{},
		names:      map[string]nameSpan{},
		summed:     map[byte]map[int64]bool{},
		keptFrom:   map[byte]int64{},
	}
	s.useDone.L = &s.useMu
	return s, nil
}

// enter marks the beginning of a call that uses the database; leave must follow. Close waits for calls in progress.
func (s *Store) enter() error {
	s.useMu.Lock()
	defer s.useMu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.uses++
	return nil
}

func (s *Store) leave() {
	s.useMu.Lock()
	defer s.useMu.Unlock()
	s.uses--
	if s.uses == 0 {
		s.useDone.Broadcast()
	}
}

// Close makes a last checkpoint and closes the database. Calls in progress end first; later ones get [ErrClosed]. The
// error of the checkpoint is returned, but nothing is lost by it: the next Open replays.
func (s *Store) Close() error {
	if errors.Is(s.enter(), ErrClosed) {
		return nil
	}
	checkpointErr := s.checkpoint()
	s.leave()

	s.useMu.Lock()
	if s.closed {
		s.useMu.Unlock()
		return nil
	}
	s.closed = true
	for s.uses > 0 {
		s.useDone.Wait()
	}
	s.useMu.Unlock()

	err := errors.Join(checkpointErr, s.closeDB())
	if err != nil {
		return fmt.Errorf("close store %s: %w", s.o.Dir, err)
	}
	return nil
}

// closeWait bounds how long Close waits for Badger, which retries a write that fails until it succeeds: on a dead disk, or
// a full one, for ever. A store that has failed already gets the shorter time.
const (
	closeWait       = 10 * time.Second
	closeWaitFailed = 2 * time.Second
)

// closeDB closes Badger. One that cannot be closed in time is left to the end of the process, and with it the locks:
// everything that was committed is synced, so the next Open finds it.
func (s *Store) closeDB() error {
	s.apply.close()
	wait := closeWait
	if s.Failed() != nil {
		wait = closeWaitFailed
	}
	closed := make(chan error, 1)
	go func() { closed <- s.db.Close() }()
	select {
	case err := <-closed:
		return errors.Join(err, s.lock.Close())
	case <-time.After(wait):
		return fmt.Errorf("%w: the disk does not take what is to be written; left open until the process ends", ErrUnavailable)
	}
}

// Failed is nil, or the error that wraps [ErrFailed] and says why the store must be opened again.
func (s *Store) Failed() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// update runs fn in a transaction and commits it, synced. An error of fn is returned as it is and nothing is written. A
// commit that fails leaves the store failed, because Badger may have written some or all of it.
func (s *Store) update(fn func(*badger.Txn) error) error {
	if err := s.Failed(); err != nil {
		return err
	}
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	if err := fn(txn); err != nil {
		return err
	}
	if err := txn.Commit(); err != nil {
		err = fmt.Errorf("%w: %w", ErrFailed, err)
		s.failed.CompareAndSwap(nil, &err)
		s.o.Logger.Error("store: commit failed; the store must be opened again", "error", err)
		return err
	}
	return nil
}

func (s *Store) view(fn func(*badger.Txn) error) error {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	return fn(txn)
}

// get calls fn with the value of key, valid during the call. It reports false if there is none.
func get(txn *badger.Txn, key []byte, fn func([]byte) error) (bool, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return true, item.Value(fn)
}

// each walks the keys with a prefix, from the key "from" on (or the prefix). Both slices are valid during the call only.
func each(txn *badger.Txn, prefix, from []byte, fn func(key, value []byte) error) error {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false // values lie in the tables with their keys
	o.Prefix = prefix
	it := txn.NewIterator(o)
	defer it.Close()
	if from == nil {
		from = prefix
	}
	for it.Seek(from); it.Valid(); it.Next() {
		item := it.Item()
		if err := item.Value(func(v []byte) error { return fn(item.Key(), v) }); err != nil {
			return err
		}
	}
	return nil
}

// set is txn.Set with the errors of this package.
func set(txn *badger.Txn, key, value []byte) error {
	err := txn.Set(key, value)
	switch {
	case errors.Is(err, badger.ErrTxnTooBig):
		return ErrBatchTooLarge
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// Watermarks is, for each epoch seen and not forgotten, the sequence number up to which its events are applied or
// quarantined.
func (s *Store) Watermarks() map[uuid.UUID]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[uuid.UUID]uint64, len(s.watermarks))
	for epoch, w := range s.watermarks {
		out[epoch] = w.seq
	}
	return out
}

// Mark is how far an epoch has been taken into the store.
type Mark struct {
	Seq         uint64 // its events are applied or quarantined up to here
	Applied     uint64 // responses
	Quarantined uint64 // responses
	From        uint64 // the first sequence number that was applied as it came from the spool; 0: none was
}

// Marks is [Store.Watermarks] with the number of responses.
func (s *Store) Marks() map[uuid.UUID]Mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[uuid.UUID]Mark, len(s.watermarks))
	for epoch, w := range s.watermarks {
		out[epoch] = Mark{Seq: w.seq, Applied: w.applied, Quarantined: w.quarantined, From: w.from}
	}
	return out
}

// PathState calls fn with every key and value that batches have left as path state, in ascending order of key. The slices
// are valid during the call.
func (s *Store) PathState(fn func(key, value []byte) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.view(func(txn *badger.Txn) error {
		return each(txn, []byte{prefixPath}, nil, func(key, value []byte) error { return fn(key[1:], value) })
	})
}

// Sync makes sure that everything written is on disk. Every transaction is synced when it is committed, so there is
// nothing left to lose without it.
func (s *Store) Sync() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.db.Sync(); err != nil {
		return fmt.Errorf("%w: sync: %w", ErrUnavailable, err)
	}
	return nil
}
