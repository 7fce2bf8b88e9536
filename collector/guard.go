package collector

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guard measures what the data directory takes and says when applying must pause. It is safe for concurrent use.
type guard struct {
	dir, archiveDir   string
	bytesMax, freeMin int64
	interval          time.Duration
	now               func() time.Time

	mu       sync.Mutex
	usage    usage
	due      time.Time // no new measurement before
	baseline sample    // for the growth
}

// usage is one measurement. Bytes are those allocated on disk, which for sparse files is less than their length.
type usage struct {
	at    time.Time
	parts map[string]int64 // spool, store, quarantine, archive, other
	total int64
	free  int64
}

type sample struct {
	at    time.Time
	total int64
}

// walkShare bounds the cost of measuring: the pause after a walk is at least this many times its duration.
const walkShare = 50

func newGuard(o Options) *guard {
	return &guard{
		dir: o.DataDir, archiveDir: o.ArchiveDir, bytesMax: o.BytesMax, freeMin: o.FreeMin,
		interval: o.GuardInterval, now: o.Now,
	}
}

// check returns an error that wraps ErrPaused while a limit is exceeded.
func (g *guard) check() error {
	if g.dir == "" || (g.bytesMax <= 0 && g.freeMin <= 0) {
		return nil
	}
	u := g.measure()
	switch {
	case g.bytesMax > 0 && u.total > g.bytesMax:
		return fmt.Errorf("%w: data.bytes_max: %s takes %d bytes of %d allowed", ErrPaused, g.dir, u.total, g.bytesMax)
	case g.freeMin > 0 && u.free < g.freeMin:
		return fmt.Errorf("%w: data.free_min: the filesystem of %s has %d bytes free, %d wanted", ErrPaused, g.dir, u.free, g.freeMin)
	}
	return nil
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
	g.walk(g.dir, "", u.parts)
	if g.archiveDir != "" && !within(g.dir, g.archiveDir) {
		g.walk(g.archiveDir, "archive", u.parts)
	}
	for _, n := range u.parts {
		u.total += n
	}
	var fsInfo unix.Statfs_t
	if err := unix.Statfs(g.dir, &fsInfo); err == nil {
		u.free = int64(fsInfo.Bavail) * fsInfo.Frsize //nolint:gosec // a disk has less than 8 EiB
	} else {
		u.free = g.freeMin // unknown is not a reason to pause
	}
	g.usage = u
	g.due = now.Add(max(g.interval, walkShare*time.Since(started)))
	if g.baseline.at.IsZero() || now.Before(g.baseline.at) {
		g.baseline = sample{now, u.total}
	}
	return u
}

// walk adds up what stands below dir: under the given part, or else under the name of the folder in dir that holds it.
// What vanishes or cannot be read meanwhile is left out.
func (g *guard) walk(dir, part string, parts map[string]int64) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		info, err := entry.Info()
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		name := part
		if name == "" {
			rel := strings.TrimPrefix(strings.TrimPrefix(path, dir), string(filepath.Separator))
			name, _, _ = strings.Cut(rel, string(filepath.Separator))
			if _, known := parts[name]; !known {
				name = "other"
			}
		}
		parts[name] += stat.Blocks * 512
		return nil
	})
}

func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// growthMin is how long must have been watched before growth means anything.
const growthMin = time.Minute

// growth is the change in bytes per day since the first measurement.
func (g *guard) growth() (perDay float64, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	watched := g.usage.at.Sub(g.baseline.at)
	if watched < growthMin {
		return 0, false
	}
	return float64(g.usage.total-g.baseline.total) / watched.Hours() * 24, true
}
