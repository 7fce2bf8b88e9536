package doctor

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/disk"
)

// dataDir checks whether this user can use the data directory, and whether the filesystem is suitable for it.
func (d *doctor) dataDir() {
	const check = "data directory"
	dir := d.cfg.Data.Dir
	if err := datadir.Exists(dir); errors.Is(err, fs.ErrNotExist) {
		parent := disk.Existing(dir)
		if err := unix.Access(parent, unix.W_OK|unix.X_OK); err != nil {
			d.fail(check, "create it as root: install -d -o "+user()+" -m 0750 "+dir, "%s does not exist, and this user cannot create it: %v: %s", dir, err, parent)
			return
		}
		d.ok(check, "%s does not exist yet and can be created", dir)
		d.filesystem(parent)
		return
	}
	err := datadir.Create(dir) // creates nothing, because dir exists
	if err == nil {
		err = datadir.CheckUser(dir)
	}
	if err != nil {
		d.fail(check, "", "%v", err)
		return
	}
	took, err := syncTime(dir)
	switch {
	case errors.Is(err, unix.ENOSPC):
		d.fail(check, "delete something, or set data.dir to a larger disk", "%v", err)
		return
	case err != nil:
		d.fail(check, "make it writable for uid "+user()+", or set data.dir to another one", "%v", err)
		return
	case took > slowSync:
		d.warn(check, "use a faster disk, especially with spool.sync: request", "%s: a write of 4 KiB takes %v to reach the disk", dir, took.Round(time.Millisecond))
	default:
		d.ok(check, "%s is writable; a write of 4 KiB takes %v to reach the disk", dir, took.Round(10*time.Microsecond))
	}
	d.filesystem(dir)
}

// slowSync is the duration of an fsync above which the check warns, because every commit waits for an fsync.
const slowSync = 50 * time.Millisecond

// syncTime writes and syncs a small file several times, and returns the median time.
func syncTime(dir string) (time.Duration, error) {
	name := filepath.Join(dir, ".doctor")
	defer func() { _ = os.Remove(name) }()
	var times []time.Duration
	for range 5 {
		began := time.Now()
		if err := disk.WriteFile(name, name+".new", bytes.NewReader(make([]byte, 4096)), 0o600); err != nil {
			_ = os.Remove(name + ".new")
			return 0, err
		}
		times = append(times, time.Since(began))
	}
	return median(times), nil
}

// unsuitable maps the type numbers of filesystems (see statfs(2)) to the reasons why they are not suitable for a data directory.
var unsuitable = map[int64]struct{ name, why, advice string }{
	unix.TMPFS_MAGIC:           {"tmpfs", "its files are lost when the machine restarts", "set data.dir to a disk, or archive to S3 at short intervals"},
	unix.OVERLAYFS_SUPER_MAGIC: {"overlay", "this looks like a container's own layer, whose files are lost with the container", "mount a volume at data.dir"},
	unix.NFS_SUPER_MAGIC:       {"NFS", "locks and memory-mapped files are not reliable there", "set data.dir to a local disk"},
	unix.SMB_SUPER_MAGIC:       {"SMB", "locks and memory-mapped files are not reliable there", "set data.dir to a local disk"},
	unix.CIFS_SUPER_MAGIC:      {"CIFS", "locks and memory-mapped files are not reliable there", "set data.dir to a local disk"},
	unix.FUSE_SUPER_MAGIC:      {"FUSE", "memory-mapped files may not be reliable there", "set data.dir to a local disk if you can"},
}

func (d *doctor) filesystem(dir string) {
	const check = "filesystem"
	at, err := disk.FilesystemOf(dir)
	if err != nil {
		d.skip(check, "%v", err)
		return
	}
	if bad, found := unsuitable[at.Type]; found {
		d.warn(check, bad.advice, "%s is on %s: %s", dir, bad.name, bad.why)
	} else {
		d.ok(check, "%s is on a local disk", dir)
	}
	if at.Files > 0 && at.FreeFiles < filesFreeMin {
		d.fail(check, "delete files there, or make a filesystem with more inodes", "only %d more files can be created on the filesystem of %s", at.FreeFiles, dir)
	}
}

// filesFreeMin is the number of free inodes that are needed for the files of the store and the spool.
const filesFreeMin = 256

// disk compares the free space with the limits in the configuration.
func (d *doctor) disk() {
	const check = "free space"
	dir := disk.Existing(d.cfg.Data.Dir)
	at, err := disk.FilesystemOf(dir)
	if err != nil {
		d.skip(check, "%v", err)
		return
	}
	free, used := configs.Bytes(at.FreeBytes), size(d.cfg.Data.Dir)
	most := d.cfg.Data.BytesMax
	switch {
	case free < d.cfg.Data.FreeMin:
		d.fail(check, "delete something, lower data.free_min, or set data.dir to a larger disk",
			"%s has %v free, less than data.free_min (%v): nothing is recorded", dir, roundDown(free), d.cfg.Data.FreeMin)
	case most > 0 && free+used < most+d.cfg.Data.FreeMin:
		d.warn(check, "lower data.bytes_max, so that wayside makes room before the disk is full",
			"%s has %v free, which is too little for data.bytes_max (%v) and data.free_min (%v) together", dir, roundDown(free), most, d.cfg.Data.FreeMin)
	default:
		d.ok(check, "%s has %v free", dir, roundDown(free))
	}
}

// damage looks for damaged files that were set aside, and for crash reports, from earlier runs.
func (d *doctor) damage() {
	const check = "earlier runs"
	dir := d.cfg.Data.Dir
	found := false
	if entries, _ := os.ReadDir(filepath.Join(dir, datadir.Quarantine)); len(entries) > 0 {
		found = true
		d.warn(check, "read the .txt files there; wayside verify lists them", "%s contains %d entries: damaged files that were set aside", filepath.Join(dir, datadir.Quarantine), len(entries))
	}
	if info, err := os.Stat(filepath.Join(dir, datadir.CrashFile)); err == nil && info.Size() > 0 {
		found = true
		d.warn(check, "please report it; delete the file afterwards", "the books process crashed at %s; the reason is in %s",
			info.ModTime().UTC().Format(time.RFC3339), filepath.Join(dir, datadir.CrashFile))
	}
	if !found {
		d.ok(check, "no files have been set aside, and the books process has not crashed")
	}
}

// size returns the total size of the files in dir, excluding those that cannot be read.
func size(dir string) (n configs.Bytes) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // an estimate
		}
		if info, err := e.Info(); err == nil {
			n += configs.Bytes(info.Size())
		}
		return nil
	})
	return n
}

// roundDown rounds down to whole MiB, or to whole GiB from 10 GiB on, so that the number is short.
func roundDown(b configs.Bytes) configs.Bytes {
	unit := configs.MiB
	if b >= 10*configs.GiB {
		unit = configs.GiB
	}
	return b / unit * unit
}
