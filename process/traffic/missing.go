package traffic

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
)

// missingInterval is the time between two looks for files that were removed while wayside runs. What is missing at two looks counts: the store
// and the queue replace files themselves.
const missingInterval = 5 * time.Second

// watchedFiles are patterns of files that are there as long as wayside runs, once they have been there, by what they are. A part that
// cannot be judged now is left out: without a books process that answers, the store is closed and has no log.
func (t *traffic) watchedFiles(ctx context.Context) map[string][]string {
	dir := t.cfg.Data.Dir
	in := func(parent string, names ...string) (out []string) {
		for _, name := range names {
			out = append(out, filepath.Join(datadir.GlobEscape(parent), name))
		}
		return out
	}
	watched := map[string][]string{
		"data directory": in(dir, datadir.RunLock, datadir.RunFile),
		"spool":          in(filepath.Join(dir, datadir.SpoolDir, t.spool.Epoch().String()), "lock", "ledger", "queue*.db", "journal-*.seg"),
		"archive":        nil,
	}
	var files []string
	if body, err := t.admin.AskBooks(ctx, http.MethodGet, admin.PathFiles); err == nil && json.Unmarshal(body, &files) == nil {
		watched["store"] = in(filepath.Join(dir, datadir.StoreDir), files...)
	}
	if archive := t.now.Load().LocalArchive(); archive != "" {
		watched["archive"] = in(archive, "v1")
	}
	return watched
}

// missing looks for the watched files again and again.
type missing struct {
	looks map[string]map[string]int // by part and pattern that had a file: looks since then at which it had none
	lost  map[string]bool           // parts that the last look at them missed
}

func newMissing() missing {
	return missing{looks: map[string]map[string]int{}, lost: map[string]bool{}}
}

// look returns the parts of which something has been missing for two looks, in order. Of a part that is not in watched, it repeats what
// the look before found. A pattern that is not watched any more, as of a table that was replaced, is forgotten.
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

// keepLooking says in log and readiness when files that wayside needs were removed under it. Most of them it has open, so that it goes on
// as if nothing were wrong until it ends.
func (t *traffic) keepLooking(ctx context.Context, lock *datadir.Lock) {
	m := newMissing()
	tick := time.NewTicker(missingInterval)
	defer tick.Stop()
	for before := ""; ; {
		parts := m.look(t.watchedFiles(ctx))
		if lock != nil && !lock.InPlace() && len(parts) == 0 {
			parts = []string{"data directory"} // another one is in its place
		}
		if now := strings.Join(parts, ", "); now != before {
			before = now
			t.missing.Store(&now)
			if now == "" {
				t.log.Info("the files that were missing are there again")
			} else {
				t.log.Error("files were removed while wayside uses them: what they held is lost, and what comes may be; put them back from a backup, or start wayside again, which begins new ones",
					"of", now, "data", t.cfg.Data.Dir)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// filesState is the line of /readyz?verbose.
func (t *traffic) filesState() (bool, string) {
	select {
	case <-t.locked:
	default:
		return false, "none: the data directory cannot be used"
	}
	if parts := t.missing.Load(); parts != nil && *parts != "" {
		return false, "removed while wayside uses them: " + *parts
	}
	return true, "in place"
}

// hasSpools reports whether an earlier traffic process left something in the data directory.
func hasSpools(dir string) bool {
	left, _ := filepath.Glob(filepath.Join(datadir.GlobEscape(dir), datadir.SpoolDir+"*"))
	return len(left) > 0
}

// sayWhereBooksBegin tells a directory that is new from one that was used before: a volume that is not mounted, or was wiped, looks like a
// new one.
func (t *traffic) sayWhereBooksBegin() {
	if !t.newBooks {
		return
	}
	dir, archive := t.cfg.Data.Dir, t.cfg.LocalArchive()
	if objects, _ := filepath.Glob(filepath.Join(datadir.GlobEscape(archive), "v1", "dt=*")); archive != "" && len(objects) > 0 {
		t.log.Warn("the data directory is new or was emptied, and its archive is not: the books begin here; wayside archive rebuild adds up what was archived before",
			"data", dir, "archive", archive)
		return
	}
	t.log.Info("the data directory is new or was emptied: the books begin here", "data", dir)
}
