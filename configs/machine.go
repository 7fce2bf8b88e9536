package configs

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/wayside-proxy/wayside/internal/disk"
)

// This file contains the checks that examine this machine. They reject only values that cannot work unless the configuration is changed.
// Missing or unwritable directories, names that cannot be resolved and a full disk are not errors here: the processes report them and
// continue.

// checkDirectory rejects a path that is a file or leads through one, and paths on which no files can be created.
func checkDirectory(dir string) string {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir(), errors.Is(err, syscall.ENOTDIR):
		return fmt.Sprintf("%s is a file, or leads through one: name a directory; it is created if it is missing", dir)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return fmt.Sprintf("%.40s… is too long for a path on this machine: name a shorter one", dir)
	case errors.Is(err, syscall.ELOOP):
		return fmt.Sprintf("%s is a symbolic link that leads back to itself: name a directory", dir)
	}
	if fs, err := disk.FilesystemOf(disk.Existing(dir)); err == nil && slices.Contains(kernelFilesystems, fs.Type) {
		return fmt.Sprintf("%s is on a virtual filesystem of the kernel, which cannot hold files: name a directory on a disk", dir)
	}
	return ""
}

// kernelFilesystems are the type numbers of filesystems that cannot contain ordinary files: proc, sysfs, cgroup, cgroup2.
var kernelFilesystems = []int64{0x9fa0, 0x62656572, 0x27e0eb, 0x63677270}

// diskBytes returns the size of the filesystem that contains dir, or would contain it after its creation. It returns 0 if that is unknown.
func diskBytes(dir string) Bytes {
	fs, _ := disk.FilesystemOf(disk.Existing(dir))
	return Bytes(fs.Bytes)
}

// The parts of the smallest data.bytes_max: the store's two memtables (16 MiB), its reserve (4 MiB), and the initial size of queue, marks and
// tables. Up to half of the limit is reserved for growth, so the sum is doubled.
const (
	storeBytesMin   = 24 * MiB
	growthFactor    = 2
	segmentsInQueue = 8 // a segment is at most an eighth of the queue
)

// dataBytesMin returns the smallest data.bytes_max with which events can move from the spool to the store.
func (c *Config) dataBytesMin() Bytes {
	journal := func(limit Bytes) Bytes {
		return Bytes(c.Spool.Segments) * min(c.Spool.SegmentBytes, c.queueBytesWithin(limit)/segmentsInQueue)
	}
	least := growthFactor * storeBytesMin
	for range 64 { // a larger limit means larger segments, up to spool.segment_bytes
		next := growthFactor * (storeBytesMin + journal(least))
		if next <= least {
			break
		}
		least = next
	}
	return (least + MiB - 1) / MiB * MiB
}

// data checks the data directory and its limits.
func (v *validator) data() {
	c := v.c
	if v.sound("data.dir") {
		if msg := checkDirectory(c.Data.Dir); msg != "" {
			v.failf("data.dir", "%s", msg)
		}
	}
	if !v.sound("data.dir", "data.bytes_max", "data.free_min", "spool.bytes_max", "spool.segments", "spool.segment_bytes") {
		return
	}
	if least := c.dataBytesMin(); c.Data.BytesMax > 0 && c.Data.BytesMax < least {
		v.failf("data.bytes_max", "%v is too small: the journal (%d segments) and the store need %v within the first hour, and as much again is reserved for growth; the minimum is %v",
			c.Data.BytesMax, c.Spool.Segments, least/growthFactor, least)
	}
	if size := diskBytes(c.Data.Dir); size > 0 && c.Data.FreeMin >= size {
		v.failf("data.free_min", "%v is at least the size of the whole filesystem of %s (%d MiB), so nothing would ever be recorded: lower it", c.Data.FreeMin, c.Data.Dir, size/MiB)
	}
}
