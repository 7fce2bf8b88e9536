package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/disk"
)

// stampLayout is the format of times in the names of quarantined files.
const stampLayout = "20060102T150405.000000"

// Quarantine keeps records that cannot be applied: raw goes into a file in QuarantineDir, and one synced transaction moves the
// watermark to lastSeq and counts the responses as quarantined. It changes nothing if lastSeq is not above the watermark.
//
// If raw is empty, only the reason is written, and the watermark may stay where it is. This is for responses that were applied and then
// lost, for instance because a store was set aside or Badger's log was damaged. It makes a refill due, because these responses may be in
// the archive.
func (a *Accounts) Quarantine(epoch uuid.UUID, lastSeq, responses uint64, raw []byte, reason string) error {
	if err := a.enter(); err != nil {
		return err
	}
	defer a.leave()
	a.writeMu.Lock()
	defer a.writeMu.Unlock()

	mark, seen := a.watermark(epoch)
	if seen && len(raw) > 0 && lastSeq <= mark.seq {
		return nil
	}
	if err := a.writeQuarantined(epoch, lastSeq, responses, raw, reason); err != nil {
		return err
	}
	lost := len(raw) == 0 && responses > 0
	if lost {
		mark.lost()
	}
	mark.seq = max(mark.seq, lastSeq)
	mark.quarantined += responses
	next := a.current()
	next.totals.Quarantined += responses
	crash.Point("store.quarantine.before")
	if err := a.writeEpoch(epoch, mark, next, lost); err != nil {
		return fmt.Errorf("quarantine epoch %s up to seq %d: %w", epoch, lastSeq, err)
	}
	crash.Point("store.quarantine.after")
	a.o.Logger.Warn("store: responses were quarantined: they count as recorded, but are missing from the statistics",
		"epoch", epoch, "through", lastSeq, "responses", responses, "reason", reason)
	return nil
}

// writeQuarantined writes the files of quarantined records.
func (a *Accounts) writeQuarantined(epoch uuid.UUID, lastSeq, responses uint64, raw []byte, reason string) error {
	dir, text := a.o.QuarantineDir, []byte(reason+"\n")
	if len(raw) > 0 {
		name := fmt.Sprintf("%s-%020d.batch", epoch, lastSeq)
		if err := writeQuarantineFile(dir, name, raw); err != nil {
			return err
		}
		return writeQuarantineFile(dir, name+".txt", text)
	}
	if responses == 0 {
		return nil
	}
	return writeQuarantineFile(dir, fmt.Sprintf("%s-%s-loss.txt", a.o.Now().UTC().Format(stampLayout), epoch), text)
}

// writeQuarantineFile writes a file durably. If a file with that name exists, it has the same content and is replaced.
func writeQuarantineFile(dir, name string, body []byte) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := writeFileSynced(filepath.Join(dir, name), body); err != nil {
		return fmt.Errorf("%w: write %s: %w", ErrUnavailable, name, err)
	}
	return nil
}

// moveToQuarantine moves a file or folder of the store to the quarantine, as "<date>-<name>", and writes a report beside it. The report
// contains the time, and the text that the function report returns when called with the new name.
func moveToQuarantine(o *Options, from, name string, report func(to string) string) (to string, err error) {
	if err := os.MkdirAll(o.QuarantineDir, 0o750); err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	now := o.Now().UTC()
	base := filepath.Join(o.QuarantineDir, now.Format("2006-01-02")+"-"+name)
	to = base
	for n := 2; badgerfiles.Exists(to) || badgerfiles.Exists(to+".txt"); n++ {
		to = fmt.Sprintf("%s-%d", base, n)
	}
	if err := os.Rename(from, to); err != nil {
		return "", fmt.Errorf("%w: set the damaged %s aside: %w", ErrUnavailable, name, err)
	}
	text := fmt.Sprintf("Set aside at %s because:\n%s", now.Format("2006-01-02T15:04:05Z"), report(to))
	if err := writeFileSynced(to+".txt", []byte(text)); err != nil {
		o.Logger.Warn("store: cannot write the report about the damaged "+name+"; continuing without it", "error", err)
	}
	return to, nil
}

// writeFileSynced replaces a file. After a crash, the file is either the complete old one or the complete new one.
func writeFileSynced(name string, body []byte) error {
	return disk.WriteFile(name, name+".tmp", bytes.NewReader(body), 0o640)
}
