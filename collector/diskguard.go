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

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/disk"
)

// guard measures the size of the data directory and decides when the collector must stop applying events for a while. It is
// safe for concurrent use.
type guard struct {
	dir, archiveDir   string
	bytesMax, freeMin int64
	spoolMax          int64
	unarchived        func() (uint64, error) // number of events that a directory archive does not have yet; nil if there is no such archive
	now               func() time.Time

	mu       sync.Mutex
	usage    usage     // the last measurement
	due      time.Time // time of the next walk
	freeDue  time.Time // time of the next measurement of the free space
	since    int64     // estimated bytes of the events applied since the last measurement
	baseline usage     // the first measurement, from which growth is computed
}

// usage is one measurement. It counts the bytes allocated on disk, which are fewer than the length of a file if the file is sparse.
type usage struct {
	at      time.Time
	folders map[string]int64 // bytes by folder: spool, store, quarantine, archive, other
	total   int64
	free    int64
	// room is the number of bytes reserved below bytesMax, because some files continue to grow while applying is paused.
	room int64
}

// An archive in the data directory can have tens of thousands of files, so a walk can be slow. The pause after a walk is walkShare times
// the duration of the walk and at most walkPause, but never less than walkShareMin times that duration. In the meantime, growth is
// estimated from the applied events (see applied).
const (
	walkShare    = 500
	walkShareMin = 50
	walkPause    = 5 * time.Minute
)

// Room that is reserved below data.bytes_max, derived from the simulated week (go run ./test/archive week).
const (
	// The store needs room for two memtables: one is filled by events applied before the next measurement, by checkpoints and by
	// deletions; the other is filled when space is reclaimed. It also needs room to merge tables, one share of the store at a time,
	// because new tables are written before the old ones are deleted.
	storeRoomMin   = 16 << 20
	storeRoomShare = 4
	mergeRoomMax   = 64 << 20
	// storedEventBytes and archivedEventBytes are upper bounds for the average size of an event, including statistics.
	storedEventBytes   = 64
	archivedEventBytes = 80
)

func newGuard(o Options) *guard {
	g := &guard{
		dir: o.DataDir, archiveDir: o.ArchiveDir, bytesMax: o.BytesMax, freeMin: o.FreeMin, spoolMax: o.SpoolBytesMax,
		now: o.Now,
	}
	if o.ArchiveDir != "" && o.Store != nil {
		g.unarchived = func() (uint64, error) {
			t, err := o.Store.Totals()
			return t.Applied - min(t.Archived, t.Applied), err
		}
	}
	return g
}

// room returns the number of bytes by which files can still grow while applying is paused: the spool fills up to its own limit, a
// directory archive receives the applied events that it does not have yet, and the store merges its tables. The result is at most half of
// the limit, so events are applied even if the limit is too small.
func (g *guard) room(folders map[string]int64) int64 {
	room := max(g.spoolMax-folders["spool"], 0) + storeRoomMin + min(folders["store"]/storeRoomShare, mergeRoomMax)
	if g.unarchived != nil {
		if n, err := g.unarchived(); err == nil { // errors of the store are reported when events are applied
			room += int64(n) * archivedEventBytes // far below 2^63
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
		return fmt.Errorf("%w: data.bytes_max: %s takes up %d of %d allowed bytes, and %d bytes are reserved so that spool, archive and store can grow in the meantime",
			ErrPaused, g.dir, u.total, g.bytesMax, u.room)
	case g.freeMin > 0 && u.free < g.freeMin:
		return fmt.Errorf("%w: data.free_min: the filesystem of %s has %d bytes free, and %d must stay free", ErrPaused, g.dir, u.free, g.freeMin)
	}
	return nil
}

// applied adds to the estimated growth. Measurements alone are not frequent enough while a backlog is being applied at full speed.
func (g *guard) applied(events int) {
	bytes := int64(events) * storedEventBytes
	if g.unarchived != nil {
		bytes += int64(events) * archivedEventBytes
	}
	g.mu.Lock()
	g.since += bytes
	g.mu.Unlock()
}

// measure returns the last measurement, or takes a new one if the last is older than guardInterval. If walking through the files takes a
// long time, guard does it less often, and measures only the free space every guardInterval.
func (g *guard) measure() usage {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if g.usage.folders != nil && now.Before(g.due) && !now.Before(g.usage.at) {
		if !now.Before(g.freeDue) {
			g.usage.free, g.freeDue = g.free(), now.Add(guardInterval)
		}
		return g.usage
	}
	started := time.Now()
	u := usage{at: now, folders: map[string]int64{"spool": 0, "store": 0, "quarantine": 0, "archive": 0}}
	g.walk(u.folders)
	if g.archiveDir != "" && !within(g.dir, g.archiveDir) {
		u.folders["archive"] += archiveBytes(os.DirFS(g.archiveDir))
	}
	for _, n := range u.folders {
		u.total += n
	}
	u.room = g.room(u.folders)
	u.free = g.free()
	g.usage, g.since = u, 0
	g.freeDue = now.Add(guardInterval)
	took := time.Since(started)
	g.due = now.Add(max(guardInterval, walkShareMin*took, min(walkShare*took, walkPause)))
	if g.baseline.at.IsZero() || now.Before(g.baseline.at) {
		g.baseline = u
	}
	return u
}

// free returns the number of free bytes in the filesystem.
func (g *guard) free() int64 {
	free, err := disk.Free(g.dir)
	if err != nil {
		return g.freeMin // unknown, which is no reason to pause
	}
	return free
}

// walk adds up the files of the data directory by folder. It skips files that disappear or cannot be read.
func (g *guard) walk(folders map[string]int64) {
	_ = fs.WalkDir(os.DirFS(g.dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		name, _, _ := strings.Cut(path, "/")
		if _, known := folders[name]; !known {
			name = "other"
		}
		folders[name] += allocated(entry)
		return nil
	})
}

// archiveBytes adds up the files that wayside has written to a directory archive. That directory may be large and
// contain other files, so only folders that wayside creates are read.
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

// allocated returns the number of bytes that a file or folder takes up on disk, or 0 if that is unknown.
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

// first returns the oldest measurement with which later ones can be compared.
func (g *guard) first() usage {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.baseline
}
