package spool

import (
	"fmt"
	"os"

	"github.com/wayside-proxy/wayside/internal/disk"
)

const (
	lockName   = "lock"
	ledgerName = "ledger"
)

// openFolder creates the folder of the current epoch, with lock and ledger, unless it exists. The counters use the ledger from then on. If
// openFolder fails, it removes the folder.
func openFolder(o *Options, e *epoch) error {
	if e.lock != nil && disk.InPlace(e.lock) {
		return nil
	}
	e.counters.detach() // from a folder that was removed, or whose filesystem is no longer mounted
	if err := e.closeFiles(); err != nil {
		o.Logger.Debug("cannot close the files of a folder that has been removed", "error", err)
	}
	return makeFolder(o, e)
}

func makeFolder(o *Options, e *epoch) (err error) {
	if err := os.MkdirAll(o.Dir, 0o750); err != nil {
		return fmt.Errorf("create spool: %w", err)
	}
	_ = os.RemoveAll(e.dir) // an earlier attempt may have failed to remove it
	if err := os.Mkdir(e.dir, 0o750); err != nil {
		return fmt.Errorf("create spool: %w", err)
	}
	defer func() {
		if err != nil {
			_ = e.closeFiles()
			_ = os.RemoveAll(e.dir)
		}
	}()
	if e.lock, err = lockFolder(e.dir, true); err != nil {
		return err
	}
	page, err := createPage(o, e.dir, e.id)
	if err != nil {
		return err
	}
	e.counters.attach(page)
	return nil
}
