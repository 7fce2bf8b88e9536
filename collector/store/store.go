package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// Store is an open store. Its methods, and those of its components, are safe for concurrent use.
//
// Each component owns a part of the state and the locks for it. Store itself does everything that needs several of them: opening and
// replaying, applying a batch, refilling, forgetting and verifying. Each of these uses transactions that change all parts together.
//
// Locks are taken in this order: Space.flattenMu, Statistics.checkpointMu, Accounts.writeMu, Rollups.runMu, Statistics.rowsMu, Accounts.mu,
// Statistics.mu, Rollups.mu; Runs.mu, MarkLog.mu.
type Store struct {
	*database
	*Accounts    // totals, watermarks, ledgers, unreconciled epochs
	*Catalogue   // plans of archive objects
	*Statistics  // hourly rows, checkpoints, queries
	*Rollups     // sums of rows over days and longer spans
	*EventLog    // recorded events
	*HourlyDrops // figures of drop records
	*Operations  // capacity samples, scheduled jobs
	*MarkLog     // named points in time
	*Runs        // periods in which traffic processes were running
	*LogImports  // access logs that were imported
	*Space       // releases disk space and memory

	lock  *os.File     // held as long as the store is open
	apply *applyBuffer // guarded by Accounts.writeMu
}

func newStore(o *Options, db *badger.DB, backup *ledgerBackup) *Store {
	buffer := newApplyBuffer()
	d := newDatabase(o, db)
	s := &Store{
		database: d, Accounts: newAccounts(d, backup), Statistics: newStatistics(d), EventLog: &EventLog{d}, HourlyDrops: &HourlyDrops{d},
		Operations: &Operations{d}, MarkLog: &MarkLog{database: d}, Space: &Space{database: d}, apply: buffer,
	}
	s.Rollups = s.Statistics.rollups
	s.Runs = &Runs{database: d, marks: s.MarkLog}
	s.LogImports = &LogImports{database: d, logs: map[uuid.UUID]ImportedLog{}}
	s.Catalogue = &Catalogue{database: d, accounts: s.Accounts, rows: s.Statistics, space: s.Space, encoder: buffer.encoder}
	return s
}

// Close makes a final checkpoint and closes the database. It waits for calls in progress; later calls return [ErrClosed]. If the
// checkpoint fails, Close returns the error, but nothing is lost, because the next Open replays the batches.
func (s *Store) Close() error {
	if errors.Is(s.enter(), ErrClosed) {
		return nil
	}
	checkpointErr := s.checkpoint()
	s.leave()
	if !s.shut() {
		return nil
	}
	s.apply.close()
	err := s.closeBadger()
	if !errors.Is(err, ErrUnavailable) { // after ErrUnavailable, Badger is still running
		err = errors.Join(err, s.lock.Close())
	}
	if err = errors.Join(checkpointErr, err); err != nil {
		return fmt.Errorf("close store %s: %w", s.o.Dir, err)
	}
	return nil
}

// Began returns the time from which the rows contain responses: the time when the store was created or the time of the oldest event,
// whichever is earlier. If rows of earlier hours have been imported, it is the beginning of the oldest of these hours. It is zero while
// that time is unknown.
func (s *Store) Began() time.Time {
	s.Accounts.mu.Lock()
	began := s.began
	s.Accounts.mu.Unlock()
	first, _, found := s.names.hours()
	if found && (began == 0 || first < stats.HourOfMicros(began)) {
		return stats.HourStart(first)
	}
	if began == 0 {
		return time.Time{}
	}
	return time.UnixMicro(began).UTC()
}

const (
	// tidyInterval is the time between calls to tidy.
	tidyInterval = time.Second
	// checkpointCheck is the interval at which Run checks whether an early checkpoint is due.
	checkpointCheck = 10 * time.Second
	// checkpointEvents is the number of events after which a checkpoint is due. A replay folds that many events in about 0.2 s.
	checkpointEvents = 250_000
)

// Run does the store's regular work until ctx is done: a checkpoint every CheckpointInterval or earlier, sums over
// days, a Flatten after large deletions, hints to the kernel about mapped memory, and the reserve file. It returns nil
// when ctx is done, and an error that wraps [ErrFailed] if the store must be reopened. Close makes the final
// checkpoint.
func (s *Store) Run(ctx context.Context) error {
	checkpoints := time.NewTicker(min(s.o.CheckpointInterval, checkpointCheck))
	defer checkpoints.Stop()
	tidy := time.NewTicker(tidyInterval)
	defer tidy.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-checkpoints.C:
			if err := s.regularCheckpoint(); err != nil {
				return err
			}
		case <-tidy.C:
			s.tidy()
		}
	}
}

// regularCheckpoint returns an error only if Run must stop.
func (s *Store) regularCheckpoint() error {
	if s.checkpointDue() {
		if err := s.Checkpoint(); err != nil && !errors.Is(err, ErrClosed) {
			s.o.Logger.Error("store: the checkpoint failed; wayside will try again; until a checkpoint succeeds, opening the store takes longer",
				"error", err)
		}
	}
	if err := s.Failed(); err != nil {
		return err
	}
	if err := s.flattenIfDue(); err != nil && !errors.Is(err, ErrClosed) {
		s.o.Logger.Warn("store: cannot free the space of deleted events; will try again after the next deletions", "error", err)
	}
	if _, err := s.Rollup(context.Background(), rollupTime); err != nil && !errors.Is(err, ErrClosed) {
		s.o.Logger.Warn("store: cannot add up hourly rows into daily ones; queries read the hourly rows instead", "error", err)
	}
	return nil
}
