package spool

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// aside keeps damaged files, each with a report beside it. Nothing damaged is ever deleted.
type aside struct {
	dir    string
	now    func() time.Time
	logger *slog.Logger
	count  atomic.Uint64 // files and batches set aside
}

// file sets a queue file aside: in the quarantine or, failing that, under another name in its place.
func (a *aside) file(epoch uuid.UUID, name string, cause error) {
	target := a.name(epoch, filepath.Base(name))
	err := os.MkdirAll(a.dir, 0o750)
	if err == nil {
		err = os.Rename(name, target)
	}
	if err != nil {
		target = name + ".damaged"
		err = os.Rename(name, target)
	}
	a.count.Add(1)
	a.logger.Error("damaged queue file set aside", "file", name, "to", target, "cause", cause, "error", err)
	a.report(target, fmt.Sprintf("%s was the queue of epoch %s. Its events were read from the journal as far as that still has them.", name, epoch), cause)
}

// report writes beside what was set aside what it held, and why it is there. If the disk cannot take it, the log has it.
func (a *aside) report(target, held string, cause error) {
	text := fmt.Sprintf("set aside at %s\n%s\nbecause:\n%v\n", a.now().UTC().Format(time.RFC3339), held, cause)
	err := os.MkdirAll(filepath.Dir(target), 0o750)
	if err == nil {
		err = os.WriteFile(target+".txt", []byte(text), 0o600)
	}
	if err != nil {
		a.logger.Warn("no report could be written beside what was set aside", "file", target, "error", err)
	}
}

// name is a path in the quarantine for something of an epoch.
func (a *aside) name(epoch uuid.UUID, base string) string {
	stamp := a.now().UTC().Format("20060102T150405.000000")
	return filepath.Join(a.dir, fmt.Sprintf("%s-spool-%s-%s", stamp, epoch, base))
}
