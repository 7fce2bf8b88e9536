package collector

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// guard measures what the data directory takes and says when applying must pause. It is safe for concurrent use.
type guard struct {
	dir, archiveDir   string
	bytesMax, freeMin int64
	spoolMax          int64
	unarchived        func() (uint64, error) // events that a local archive will still have to take; nil without one
	interval          time.Duration
	now               func() time.Time

	mu       sync.Mutex
	usage    usage
	due      time.Time // no new measurement before
	since    int64     // what was applied since the last one may take
	baseline usage     // the first measurement, for the growth
}

// usage is one measurement. Bytes are those allocated on disk, which for sparse files is less than their length.
type usage struct {
	at    time.Time
	parts map[string]int64 // spool, store, quarantine, archive, other
	total int64
	free  int64
	// room is what must be left below bytesMax when applying pauses: for what goes on growing then.
	room int64
}

// walkShare bounds the cost of measuring: the pause after a walk is at least this many times its duration.
const walkShare = 50

// Rooms that are left below data.bytes_max, from the simulated week (go run ./test/archive week).
const (
	// For the store: two memtables, because what is applied until the next look, checkpoints and deletions fill one, and
	// giving space back fills another up; and the merging of tables, which writes the new ones before the old ones go, a part
	// of the store at a time.
	storeRoomMin   = 16 << 20
	storeRoomShare = 4
	mergeRoomMax   = 64 << 20
	// storedEventBytes and archivedEventBytes are what an event takes at most on average, statistics included.
	storedEventBytes   = 64
	archivedEventBytes = 80
)

func newGuard(o Options) *guard {
	g := &guard{
		dir: o.DataDir, archiveDir: o.ArchiveDir, bytesMax: o.BytesMax, freeMin: o.FreeMin, spoolMax: o.SpoolBytesMax,
		interval: o.GuardInterval, now: o.Now,
	}
	if o.ArchiveDir != "" && o.Store != nil {
		g.unarchived = func() (uint64, error) {
			t, err := o.Store.Totals()
			return t.Applied - min(t.Archived, t.Applied), err
		}
	}
	return g
}

// room is what may still come while applying is paused, because traffic, archive and retention go on: the spool fills up to
// its own limit, a local archive takes what was applied and is not archived, and the store merges its tables. At most half
// of the limit is kept for that, so that a limit too small for it still lets something be recorded.
func (g *guard) room(parts map[string]int64) int64 {
	room := max(g.spoolMax-parts["spool"], 0) + storeRoomMin + min(parts["store"]/storeRoomShare, mergeRoomMax)
	if g.unarchived != nil {
		if n, err := g.unarchived(); err == nil { // a store that cannot say has other troubles
			room += int64(n) * archivedEventBytes //nolint:gosec // far below 2^63
		}
	}
	return min(room, g.bytesMax/2)
}

// check returns an error that wraps ErrPaused while a limit is exceeded.
func (g *guard) check() error {
	if g.dir == "" || (g.bytesMax <= 0 && g.freeMin <= 0) {
		return nil
	}
	u := g.measure()
	g.mu.Lock()
	u.room += g.since
	g.mu.Unlock()
	switch {
	case g.bytesMax > 0 && u.total+u.room > g.bytesMax:
		return fmt.Errorf("%w: data.bytes_max: %s takes %d bytes of %d allowed, and %d are kept for what grows meanwhile (spool, archive, merging)",
			ErrPaused, g.dir, u.total, g.bytesMax, u.room)
	case g.freeMin > 0 && u.free < g.freeMin:
		return fmt.Errorf("%w: data.free_min: the filesystem of %s has %d bytes free, %d wanted", ErrPaused, g.dir, u.free, g.freeMin)
	}
	return nil
}

// applied notes that so many events were written: a backlog that is drained at full speed is far ahead of any measurement.
func (g *guard) applied(events int) {
	bytes := int64(events) * storedEventBytes
	if g.unarchived != nil {
		bytes += int64(events) * archivedEventBytes
	}
	g.mu.Lock()
	g.since += bytes
	g.mu.Unlock()
}

// measure returns the last measurement, or a new one when that is older than the interval.
func (g *guard) measure() usage {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if g.usage.parts != nil && now.Before(g.due) && !now.Before(g.usage.at) {
		return g.usage
	}
	started := time.Now()
	u := usage{at: now, parts: map[string]int64{"spool": 0, "store": 0, "quarantine": 0, "archive": 0}}
	g.walk(u.parts)
	if g.archiveDir != "" && !within(g.dir, g.archiveDir) {
		u.parts["archive"] += archiveBytes(os.DirFS(g.archiveDir))
	}
	for _, n := range u.parts {
		u.total += n
	}
	u.room = g.room(u.parts)
	var fsInfo unix.Statfs_t
	if err := unix.Statfs(g.dir, &fsInfo); err == nil {
		u.free = int64(fsInfo.Bavail) * fsInfo.Frsize //nolint:gosec // a disk has less than 8 EiB
	} else {
		u.free = g.freeMin // unknown is not a reason to pause
	}
	g.usage, g.since = u, 0
	g.due = now.Add(max(g.interval, walkShare*time.Since(started)))
	if g.baseline.at.IsZero() || now.Before(g.baseline.at) {
		g.baseline = u
	}
	return u
}

// walk adds up what is in the data directory, under the name of the folder that holds it. What vanishes or cannot be read
// meanwhile is left out.
func (g *guard) walk(parts map[string]int64) {
	_ = fs.WalkDir(os.DirFS(g.dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		name, _, _ := strings.Cut(path, "/")
		if _, known := parts[name]; !known {
			name = "other"
		}
		parts[name] += allocated(entry)
		return nil
	})
}

// archiveBytes is what wayside wrote below a directory archive. The directory may hold other things, and may be large: only
// folders that wayside makes are entered.
func archiveBytes(archive fs.FS) int64 {
	total := int64(0)
	_ = fs.WalkDir(archive, "v1", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // as in walk
		case entry.IsDir() && !catalogue.IsArchiveFolder(name):
			return fs.SkipDir
		case entry.IsDir() || catalogue.IsArchiveFile(name):
			total += allocated(entry)
		}
		return nil
	})
	return total
}

// allocated is the room that a file or folder takes on disk, 0 if that cannot be said.
func allocated(entry fs.DirEntry) int64 {
	info, err := entry.Info()
	if err != nil {
		return 0
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return stat.Blocks * 512
}

func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// first is the oldest measurement that can be compared with later ones.
func (g *guard) first() usage {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.baseline
}
