package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
	"github.com/wayside-proxy/wayside/internal/verify"
)

// A damaged store is set aside as a whole. The next store starts empty, and none of the old files are read. Lost responses are restored
// from the archive (refill.go, ADR 85).

// condemnedFile returns the path of the file that makes the next Open set the store aside. It contains the reason.
func condemnedFile(dir string) string { return dir + ".condemned" }

// Damage describes the problems found by [Store.Verify] that make the store unfit for use, or returns "" if there are none. Two kinds of
// problems do not make a store unfit: wrong sums over days, which are recomputed from the rows, and rows that differ from their events.
// If a process was killed during [Store.Forget], they differ until Forget is called again.
func Damage(checks []*verify.Check) string {
	var found []string
	for _, c := range checks {
		if c.Found > 0 && c.Name != checkOfRows && c.Name != checkOfSums && c.Name != checkOfMinutes {
			found = append(found, fmt.Sprintf("%s: %s (%d in all)", c.Name, strings.Join(c.Problems, "; "), c.Found))
		}
	}
	return strings.Join(found, "\n")
}

// Condemn makes the next Open of the store in dir set it aside, for the given reason. If the store is open, it stays open.
func Condemn(dir, reason string) error {
	if err := writeFileSynced(condemnedFile(filepath.Clean(dir)), []byte(reason)); err != nil {
		return fmt.Errorf("condemn store %s: %w", dir, err)
	}
	return nil
}

// condemned returns the reason why the store must be set aside before it is opened, or "" if there is none.
func condemned(o *Options, marker *opening) (reason string, err error) {
	if marker.crashes >= crashesMax {
		return fmt.Sprintf("opening it crashed the process %d times:\n%s", marker.crashes, marker.text), nil
	}
	if !badgerfiles.Exists(o.Dir) { // a process was killed after it had set the store aside
		return "", clearCondemned(o)
	}
	found, err := os.ReadFile(condemnedFile(o.Dir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return "wayside verify found:\n" + string(found), nil
}

// clearCondemned removes the file that condemns a store, after the store has been set aside.
func clearCondemned(o *Options) error {
	if err := os.Remove(condemnedFile(o.Dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// setAside moves the store's folder to quarantine.
func setAside(o *Options, found *findings, reason string) error {
	to, err := moveToQuarantine(o, o.Dir, "store", func(to string) string {
		return fmt.Sprintf("%s\n\nIt holds %s.\n"+
			"A new, empty store was created in %s. Responses that the spools and %s know of count as quarantined\n"+
			"until the archive has brought them back, which starts immediately; those that were not archived stay quarantined.\n",
			reason, inventory(to), o.Dir, filepath.Base(backupFile(o)))
	})
	if err != nil {
		return err
	}
	found.replaced = true
	if err := clearCondemned(o); err != nil {
		return err
	}
	if badgerfiles.Exists(orphansDir(o)) {
		if err := os.Rename(orphansDir(o), filepath.Join(to, "unlisted")); err != nil {
			o.Logger.Warn("store: cannot move orphaned tables to the damaged store; they stay", "folder", orphansDir(o), "error", err)
		}
	}
	o.Logger.Warn("store: the store was damaged and has been set aside; a new, empty one was created", "moved_to", to, "reason", reason)
	return nil
}

// inventory describes the files in a folder.
func inventory(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "files that could not be listed: " + err.Error()
	}
	files, bytes := map[string]int{}, map[string]int64{}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			continue
		}
		kind := filepath.Ext(entry.Name())
		if kind == "" {
			kind = entry.Name()
		}
		files[kind]++
		bytes[kind] += info.Size()
	}
	var out []string
	for _, kind := range slices.Sorted(maps.Keys(files)) {
		out = append(out, fmt.Sprintf("%d %s of %d bytes", files[kind], kind, bytes[kind]))
	}
	return strings.Join(out, ", ")
}
