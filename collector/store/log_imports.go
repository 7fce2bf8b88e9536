package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// Rows of imported access logs have the route [stats.ImportedRoute]. They are included in all queries but not in the accounting: wayside
// did not record these responses, so it has no events for them, and they are not in the archive.
//
// Each transaction writes some rows of a log together with the position up to which the log has been counted, so no line is counted twice
// after a crash or in a second import.

// ImportRowsMax is the maximum number of rows in one call to [Store.ImportLogRows]. That many rows fit into a transaction regardless of
// their content: a row with every status and every latency bin takes 6 KB.
const ImportRowsMax = 96

// ImportedLog records how much of an access log has been counted. A log is identified by its content: SHA256 is the checksum of its first
// Bytes bytes.
type ImportedLog struct {
	ID        uuid.UUID `json:"id"`
	Name      string    `json:"name"`       // of the file at the last import
	FirstLine string    `json:"first_line"` // SHA-256 of its first line, in hexadecimal digits
	Bytes     int64     `json:"bytes"`      // counted so far, in uncompressed form
	SHA256    string    `json:"sha256"`     // of these bytes, in hexadecimal digits
	Lines     uint64    `json:"lines"`      // in these bytes
	Responses uint64    `json:"responses"`  // counted
	Skipped   uint64    `json:"skipped"`    // lines that are not responses or could not be read
	From      time.Time `json:"from"`       // of the oldest response
	To        time.Time `json:"to"`         // of the newest response
	At        time.Time `json:"at"`         // when it was last imported
}

// LogImports holds the state of every imported access log. A key is prefix, ID (16); a value is JSON.
type LogImports struct {
	*database

	mu   sync.Mutex
	logs map[uuid.UUID]ImportedLog // guarded by mu
}

func importedLogKey(id uuid.UUID) []byte { return epochKey(prefixLog, id) }

func eachImportedLog(txn *badger.Txn, fn func(ImportedLog)) error {
	return each(context.Background(), txn, []byte{prefixLog}, nil, func(key, value []byte) error {
		var l ImportedLog
		if err := json.Unmarshal(value, &l); err != nil || string(importedLogKey(l.ID)) != string(key) {
			return fmt.Errorf("%w: imported log %x", ErrDamaged, key)
		}
		fn(l)
		return nil
	})
}

// load reads the state when the store is opened.
func (i *LogImports) load(txn *badger.Txn) error {
	return eachImportedLog(txn, func(l ImportedLog) { i.logs[l.ID] = l })
}

// ImportedLogs returns the state of every imported log, in the order of their oldest responses.
func (i *LogImports) ImportedLogs() []ImportedLog {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.SortedFunc(maps.Values(i.logs), func(a, b ImportedLog) int { return a.From.Compare(b.From) })
}

// ImportedResponses returns the number of responses in the rows of imported logs.
func (i *LogImports) ImportedResponses() (n uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, l := range i.logs {
		n += l.Responses
	}
	return n
}

// ImportLogRows adds rows, at most [ImportRowsMax], and replaces the state of their log, in one synced transaction. The rows get the
// route [stats.ImportedRoute]. log.Responses must already include the responses in the rows. The caller must ensure that no batch of
// events changes rows with that route during the call.
func (s *Store) ImportLogRows(log ImportedLog, keys []stats.Key, rows []*stats.Row) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.importLogRows(log, keys, rows); err != nil {
		return fmt.Errorf("import %s: %w", log.Name, err)
	}
	return nil
}

func (s *Store) importLogRows(log ImportedLog, keys []stats.Key, rows []*stats.Row) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.rowsMu.Lock()
	defer s.rowsMu.Unlock()
	s.LogImports.mu.Lock()
	defer s.LogImports.mu.Unlock()
	keys = slices.Clone(keys)
	grown := s.logs[log.ID].Responses
	for i := range keys {
		keys[i].Route = stats.ImportedRoute
		grown += rows[i].Count
	}
	if log.Responses != grown || len(keys) > ImportRowsMax {
		return fmt.Errorf("%w: %d rows, with which %d responses of the log are counted, and not %d", ErrInvalid, len(keys), grown, log.Responses)
	}
	value, err := json.Marshal(log)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	s.Accounts.mu.Lock()
	began := s.began
	s.Accounts.mu.Unlock()
	oldest := min(began, log.From.UnixMicro())
	change := s.changeOf(keys, nil)
	crash.Point("store.log.before")
	err = s.update(func(txn *badger.Txn) error {
		if err := s.addToStored(txn, keys, rows, nil); err != nil {
			return err
		}
		if err := change.write(txn); err != nil {
			return err
		}
		if oldest != began {
			if err := writeSchema(txn, oldest); err != nil {
				return err
			}
		}
		return set(txn, importedLogKey(log.ID), value)
	})
	s.Accounts.mu.Lock()
	defer s.Accounts.mu.Unlock()
	s.Statistics.mu.Lock()
	defer s.Statistics.mu.Unlock()
	s.rowsWritten(&change, err == nil)
	if err != nil {
		return err
	}
	crash.Point("store.log.after")
	s.began, s.logs[log.ID] = oldest, log
	return nil
}

// isImported reports whether a row's database key has the route of imported logs. The result is false for a malformed key.
func isImported(key []byte) bool {
	if len(key) < 9 {
		return false
	}
	in := varint.Reader{Rest: key[9:]}
	in.Text(routed)
	method := in.Length(2 * routed)
	if method < routed {
		return false
	}
	in.Bytes(method - routed)
	return string(in.Text(routed)) == stats.ImportedRoute && !in.Bad
}

// CoverImportedLog marks the time between the oldest and the newest response of an imported log as recorded time. Rates are then computed
// over that time. Repeated calls change nothing.
func (s *Store) CoverImportedLog(id uuid.UUID) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.LogImports.mu.Lock()
	log := s.logs[id]
	s.LogImports.mu.Unlock()
	if log.Responses == 0 {
		return nil
	}
	if err := s.Runs.cover(run{epoch: id, from: log.From.UnixMicro(), to: log.To.UnixMicro(), ended: true}); err != nil {
		return fmt.Errorf("import %s: %w", log.Name, err)
	}
	return nil
}

// cover adds a finished run, or replaces the one with the same epoch.
func (r *Runs) cover(next run) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.find(next.epoch)
	if i < 0 && len(r.list) >= runsMax {
		return nil // any time before the oldest run that is kept counts as recorded
	}
	err := r.update(func(txn *badger.Txn) error {
		if i >= 0 {
			if err := deleteKey(txn, r.list[i].key()); err != nil {
				return err
			}
		}
		return next.write(txn)
	})
	if err != nil {
		return err
	}
	if i >= 0 {
		r.list = slices.Delete(r.list, i, i+1)
	}
	at, _ := slices.BinarySearchFunc(r.list, next, func(a, b run) int { return bytes.Compare(a.key(), b.key()) })
	r.list = slices.Insert(r.list, at, next)
	return nil
}
