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

	"github.com/wayside-proxy/wayside/internal/verify"
)

// A damaged store is set aside whole, and the next one begins empty: nothing of its files is read for that. What was in it comes
// back from the archive (refill.go, ADR 85).

// condemnedFile says that the next Open is to set the store aside, and why.
func condemnedFile(dir string) string { return dir + ".condemned" }

// Damage is what checks of [Store.Verify] found that makes the store unfit for use; "" if that is nothing. Rows of single names that
// differ from their events are what a kill while paths were forgotten leaves, until they are forgotten again; sums over days are
// made again from the rows.
func Damage(checks []*verify.Check) string {
	var found []string
	for _, c := range checks {
		if c.Found > 0 && c.Name != checkOfRows && c.Name != checkOfSums {
			found = append(found, fmt.Sprintf("%s: %s (%d in all)", c.Name, strings.Join(c.Problems, "; "), c.Found))
		}
	}
	return strings.Join(found, "\n")
}

// Condemn has the next Open of the store in dir set it aside, for the reason given. The store may be open, and stays so.
func Condemn(dir, reason string) error {
	if err := writeFileSynced(condemnedFile(filepath.Clean(dir)), []byte(reason)); err != nil {
		return fmt.Errorf("condemn store %s: %w", dir, err)
	}
	return nil
}

// condemned is why the store is to be set aside before it is opened; "" if it is not.
func condemned(o *Options, mark *opening) (reason string, err error) {
	if mark.crashes >= crashesMax {
		return fmt.Sprintf("opening it crashed the process %d times:\n%s", mark.crashes, mark.text), nil
	}
	if !exists(o.Dir) { // it was set aside, and the process killed
		return "", pardon(o)
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

// pardon forgets that the store was condemned: the next one is another.
func pardon(o *Options) error {
	if err := os.Remove(condemnedFile(o.Dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// setAside moves the store's folder to quarantine, with a report beside it. The next store in its place knows that it is not the first.
func setAside(o *Options, reason string) error {
	if err := os.MkdirAll(o.QuarantineDir, 0o750); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	now := o.Now().UTC()
	to := freeName(filepath.Join(o.QuarantineDir, now.Format("2006-01-02")+"-store"))
	if err := os.Rename(o.Dir, to); err != nil {
		return fmt.Errorf("%w: set the damaged store aside: %w", ErrUnavailable, err)
	}
	o.anew = true
	if err := pardon(o); err != nil {
		return err
	}
	if exists(unlistedDir(o)) {
		if err := os.Rename(unlistedDir(o), filepath.Join(to, "unlisted")); err != nil {
			o.Logger.Warn("store: tables that the MANIFEST does not list stay", "folder", unlistedDir(o), "error", err)
		}
	}
	report := fmt.Sprintf("Set aside at %s because:\n%s\n\n"+
		"It holds %s.\n"+
		"A new store began empty in %s. Responses that the spools and %s know of count as quarantined\n"+
		"until the archive has brought them back, which begins at once; those that were not archived stay quarantined.\n",
		now.Format("2006-01-02T15:04:05Z"), reason, inventory(to), o.Dir, filepath.Base(ledgersFile(o)))
	if err := writeFileSynced(to+".txt", []byte(report)); err != nil {
		o.Logger.Warn("store: the report on the damaged store could not be written", "error", err)
	}
	o.Logger.Warn("store: the store is damaged; it was set aside, and a new one begins empty", "moved_to", to, "reason", reason)
	return nil
}

// inventory says in words what files a folder holds.
func inventory(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "what could not be listed: " + err.Error()
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
