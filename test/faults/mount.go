package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ext4Shutdown is EXT4_IOC_SHUTDOWN. Its flag discards everything that was not synced, including the end of the
// filesystem's journal.
const (
	ext4Shutdown      = 0x8004587d
	ext4ShutdownNoLog = 2
)

// volume is a small filesystem for one trial.
type volume struct {
	image string // image file of an ext4; empty for a tmpfs
	at    string // mount point
}

// newVolume creates an ext4 filesystem of this size in an image file and mounts it.
func newVolume(dir string, mib int) (*volume, error) {
	v := &volume{image: filepath.Join(dir, "disk.img"), at: filepath.Join(dir, "disk")}
	if os.Getuid() != 0 {
		return nil, fmt.Errorf("%w: mounting a filesystem needs root", ErrSkipped)
	}
	if err := os.MkdirAll(v.at, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(v.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(int64(mib)<<20), f.Close()); err != nil {
		return nil, err
	}
	if err := command("mkfs.ext4", "-q", "-F", "-m", "0", v.image); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSkipped, err)
	}
	if err := v.mount(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSkipped, err)
	}
	return v, nil
}

// newTmpfs mounts a tmpfs of this size.
func newTmpfs(dir string, mib int) (*volume, error) {
	v := &volume{at: filepath.Join(dir, "disk")}
	if err := os.MkdirAll(v.at, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", v.at, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		return nil, fmt.Errorf("%w: mount a tmpfs (needs root): %w", ErrSkipped, err)
	}
	return v, nil
}

func (v *volume) mount() error { return command("mount", "-o", "loop", v.image, v.at) }

// cut simulates a power cut for the filesystem: synced data is on the disk, everything else is lost, and every later access fails.
func (v *volume) cut() error {
	f, err := os.Open(v.at)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	flags := uint32(ext4ShutdownNoLog)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return fmt.Errorf("%w: EXT4_IOC_SHUTDOWN: %w", ErrSkipped, errno)
	}
	return nil
}

// unmount unmounts the filesystem. It waits until no process is using the filesystem.
func (v *volume) unmount() error {
	var err error
	for range 200 {
		if err = unix.Unmount(v.at, 0); err == nil || errors.Is(err, unix.EINVAL) { // EINVAL: not mounted
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("unmount %s: %w", v.at, err)
}

// remove unmounts the filesystem and deletes its files.
func (v *volume) remove() error {
	err := v.unmount()
	if err == nil && v.image != "" {
		err = os.Remove(v.image)
	}
	return err
}

func command(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}
