package traffic

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/verify"
)

// fileWatch detects when files that wayside is using are removed. Most of these files are open, so without fileWatch, wayside would
// continue as if nothing were wrong, and everything in them would be lost when it ends.
type fileWatch struct {
	dir     *dataDir
	epoch   string // the epoch of this process's spool
	admin   *admin.Server
	archive func() string // returns the current local archive; "" if there is none
	log     *slog.Logger

	removed atomic.Pointer[string] // names of the parts whose files are missing; nil or empty if none are
}

// watchInterval is the time between two checks of the files. A file counts as removed only if it is missing in two consecutive
// checks, because the store and the queue replace files.
const watchInterval = 5 * time.Second

// watched returns, for each part of wayside, patterns of files that, as soon as they exist, never disappear while wayside is running.
// While no books process is responding, the store is not among the parts, because it may be closed, and a closed store has no log.
// expected has the patterns of files that an open store always has.
func (w *fileWatch) watched(ctx context.Context) (watched map[string][]string, expected []string) {
	in := func(parent string, names ...string) (out []string) {
		for _, name := range names {
			out = append(out, filepath.Join(datadir.GlobEscape(parent), name))
		}
		return out
	}
	watched = map[string][]string{
		"data directory": in(w.dir.path, datadir.RunLock, datadir.RunFile),
		"spool":          in(filepath.Join(w.dir.path, datadir.SpoolDir, w.epoch), "lock", "ledger", "queue*.db", "journal-*.seg"),
		"archive":        nil,
	}
	var files []string
	if body, err := w.admin.AskBooks(ctx, http.MethodGet, admin.PathFiles); err == nil && json.Unmarshal(body, &files) == nil {
		watched["store"] = in(filepath.Join(w.dir.path, datadir.StoreDir), files...)
		for _, pattern := range watched["store"] {
			if !strings.Contains(filepath.Base(pattern), "*") {
				expected = append(expected, pattern)
			}
		}
	}
	if archive := w.archive(); archive != "" {
		watched["archive"] = in(archive, "v1")
	}
	return watched, expected
}

// missing compares each check of the watched files with the previous ones.
type missing struct {
	looks map[string]map[string]int // part → pattern that has had a file → number of consecutive checks without one
	lost  map[string]bool           // the result of the last check of a part
}

func newMissing() missing {
	return missing{looks: map[string]map[string]int{}, lost: map[string]bool{}}
}

// expect adds patterns of store files that must exist even before the first check, unless someone has removed them.
func (m *missing) expect(patterns []string) {
	if m.looks["store"] == nil {
		m.looks["store"] = map[string]int{}
	}
	for _, pattern := range patterns {
		m.looks["store"][pattern] += 0 // adds the pattern if it is new, and keeps the count otherwise
	}
}

// look returns, in a fixed order, the parts of which a file was missing in two consecutive checks. A part that is not in watched keeps its
// last result. A pattern that is no longer watched, for example because its table was replaced, is forgotten.
func (m *missing) look(watched map[string][]string) (parts []string) {
	for _, part := range []string{"data directory", "spool", "store", "archive"} {
		if patterns, known := watched[part]; known {
			looks, lost := map[string]int{}, false
			for _, pattern := range patterns {
				found, _ := filepath.Glob(pattern)
				if n, seen := m.looks[part][pattern]; len(found) > 0 {
					looks[pattern] = 0
				} else if seen {
					looks[pattern] = n + 1
					lost = lost || n > 0
				}
			}
			m.looks[part], m.lost[part] = looks, lost
		}
		if m.lost[part] {
			parts = append(parts, part)
		}
	}
	return parts
}

// run checks the files at intervals until ctx is done, and reports removed files in the log and in /readyz.
func (w *fileWatch) run(ctx context.Context) {
	m := newMissing()
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for before := ""; ; {
		watched, expected := w.watched(ctx)
		m.expect(expected)
		parts := m.look(watched)
		if len(parts) == 0 && !w.dir.inPlace() {
			parts = []string{"data directory"}
		}
		if now := strings.Join(parts, ", "); now != before {
			before = now
			w.removed.Store(&now)
			if now == "" {
				w.log.Info("the files that were missing are back")
			} else {
				w.log.Error("files were removed while wayside was using them: their contents are lost, and new data may be lost as well; restore the files from a backup, or restart wayside to create new ones",
					"of", now, "data", w.dir.path)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// verify checks, for `wayside verify`, that no files have been removed.
func (w *fileWatch) verify() *verify.Check {
	c := &verify.Check{Name: "files", Of: "directories", Checked: 1}
	if ok, found := w.state(); !ok {
		c.Problem("%s", found)
	}
	return c
}

// state returns a line of /readyz?verbose.
func (w *fileWatch) state() (bool, string) {
	select {
	case <-w.dir.locked:
	default:
		return false, "none: the data directory cannot be used"
	}
	if parts := w.removed.Load(); parts != nil && *parts != "" {
		return false, "removed while wayside was using them: " + *parts
	}
	return true, "in place"
}
