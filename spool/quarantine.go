package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// quarantine is the folder for damaged files and batches, each with a report next to it. Nothing damaged is deleted.
type quarantine struct {
	dir    string
	now    func() time.Time
	logger *slog.Logger
	count  atomic.Uint64 // damaged files and batches so far
}

// file moves a queue file to the quarantine or, if that fails, renames it in its folder.
func (q *quarantine) file(epoch uuid.UUID, name string, cause error) {
	target := q.name(epoch, filepath.Base(name))
	err := os.MkdirAll(q.dir, 0o750)
	if err == nil {
		err = os.Rename(name, target)
	}
	if err != nil {
		target = name + ".damaged"
		err = os.Rename(name, target)
	}
	q.count.Add(1)
	q.logger.Error("a damaged queue file was set aside; events that are still in the journal are recovered from there",
		"file", name, "to", target, "cause", cause, "error", err)
	q.report(target, fmt.Sprintf("%s was the queue of epoch %s. Events that are still in the journal were recovered from there.", name, epoch), cause)
}

// batch writes a damaged batch to the quarantine. raw is nil if it could not be read.
func (q *quarantine) batch(epoch uuid.UUID, b *queue.Batch, raw []byte, cause error) {
	name := q.name(epoch, fmt.Sprintf("%d-%d.batch", b.First, b.Last))
	err := os.MkdirAll(q.dir, 0o750)
	if err == nil && raw != nil {
		err = os.WriteFile(name, raw, 0o600)
	}
	q.count.Add(1)
	q.logger.Error("a damaged batch of the queue was set aside; its responses count as dropped",
		"epoch", epoch, "first_seq", b.First, "last_seq", b.Last,
		"responses", b.Responses, "file", name, "cause", cause, "error", err)
	q.report(name, fmt.Sprintf("A batch of %d responses, seq %d to %d of epoch %s: they count as dropped (%s).", b.Responses, b.First, b.Last, epoch, lostDamaged), cause)
}

// loss writes a report about responses that were lost or refused because a file was damaged, and that are in no batch.
func (q *quarantine) loss(epoch uuid.UUID, text string, cause error) {
	q.report(q.name(epoch, "loss"), text, cause)
}

var errMapping = errors.New("the mapped file was damaged or truncated while it was in use")

// hasLoss reports whether loss has written a report for this epoch.
func (q *quarantine) hasLoss(epoch uuid.UUID) bool {
	reports, _ := filepath.Glob(filepath.Join(q.dir, fmt.Sprintf("*-spool-%s-loss.txt", epoch)))
	return len(reports) > 0
}

// report writes a text file next to target that says what target is and why it is there.
func (q *quarantine) report(target, held string, cause error) {
	text := fmt.Sprintf("set aside at %s\n%s\nbecause:\n%v\n", q.now().UTC().Format(time.RFC3339), held, cause)
	err := os.MkdirAll(filepath.Dir(target), 0o750)
	if err == nil {
		err = os.WriteFile(target+".txt", []byte(text), 0o600)
	}
	if err != nil { // the facts have been logged
		q.logger.Warn("cannot write a report beside a file that was set aside", "file", target, "error", err)
	}
}

// name returns a path in the quarantine that contains the time, the epoch and a base name.
func (q *quarantine) name(epoch uuid.UUID, base string) string {
	stamp := q.now().UTC().Format("20060102T150405.000000")
	return filepath.Join(q.dir, fmt.Sprintf("%s-spool-%s-%s", stamp, epoch, base))
}
