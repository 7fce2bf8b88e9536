package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/disk"
)

// Quarantine sets records aside that cannot be applied: raw goes into a file in QuarantineDir, and the watermark moves to
// lastSeq and the responses are counted as quarantined in one synced transaction. It changes nothing if lastSeq is not
// above the watermark.
//
// With raw empty only the reason is written and the watermark may stand where it is: so responses are counted that were lost
// outside of the store's reach, such as those in a store that was itself set aside, or behind damage in Badger's own log.
func (s *Store) Quarantine(epoch uuid.UUID, lastSeq, responses uint64, raw []byte, reason string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()

	mark, seen := s.watermark(epoch)
	if seen && len(raw) > 0 && lastSeq <= mark.seq {
		return nil
	}
	if len(raw) > 0 {
		name := fmt.Sprintf("%s-%020d.batch", epoch, lastSeq)
		if err := writeQuarantineFile(s.o.QuarantineDir, name, raw); err != nil {
			return err
		}
		if err := writeQuarantineFile(s.o.QuarantineDir, name+".txt", []byte(reason+"\n")); err != nil {
			return err
		}
	}
	if len(raw) == 0 && responses > 0 {
		stamp := s.o.Now().UTC().Format("20060102T150405.000000")
		if err := writeQuarantineFile(s.o.QuarantineDir, fmt.Sprintf("%s-%s-loss.txt", stamp, epoch), []byte(reason+"\n")); err != nil {
			return err
		}
	}
	mark.seq = max(mark.seq, lastSeq)
	mark.quarantined += responses
	s.mu.Lock()
	next := s.state
	s.mu.Unlock()
	next.totals.Quarantined += responses
	crash.Point("store.quarantine.before")
	err := s.update(func(txn *badger.Txn) error {
		if err := set(txn, epochKey(prefixWatermark, epoch), mark.encode()); err != nil {
			return err
		}
		return set(txn, []byte{prefixState}, next.encode())
	})
	if err != nil {
		return fmt.Errorf("quarantine epoch %s up to seq %d: %w", epoch, lastSeq, err)
	}
	crash.Point("store.quarantine.after")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watermarks[epoch] = mark
	s.state = next
	s.o.Logger.Warn("store: quarantined events", "epoch", epoch, "through", lastSeq, "responses", responses, "reason", reason)
	return nil
}

// writeQuarantineFile writes a file durably. An older one of that name is replaced: it held the same bytes.
func writeQuarantineFile(dir, name string, body []byte) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := writeFileSynced(filepath.Join(dir, name), body); err != nil {
		return fmt.Errorf("%w: write %s: %w", ErrUnavailable, name, err)
	}
	return nil
}

// writeFileSynced replaces a file so that after a crash either the old or the new one is there, whole.
func writeFileSynced(name string, body []byte) error {
	temporary := name + ".tmp"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err //nolint:wrapcheck // names the file
	}
	_, err = f.Write(body)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return disk.SyncDir(filepath.Dir(name))
}
