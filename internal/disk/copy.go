package disk

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CopyFile copies a file with its permissions; the new file must not exist yet. It does not sync the file. Bytes are read in order, from the
// beginning to the end, so the file may be one to which another goroutine or process is appending. CopyFile reports false if the file to
// copy does not exist.
func CopyFile(to, from string) (exists bool, err error) {
	in, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return false, err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return false, err
	}
	_, err = io.Copy(struct{ io.Writer }{out}, struct{ io.Reader }{in}) // not with copy_file_range(2), which copies in an unknown order
	return true, errors.Join(err, out.Close())
}

// CopyTree copies the files of a folder, or one file, and returns the number of files. It does not sync them. If links is set, it makes
// hard links instead if the filesystem supports them; links must be set only for files that are replaced but never changed. CopyTree
// skips temporary files (*.tmp), files that are not regular, and files that are removed in the meantime.
func CopyTree(ctx context.Context, to, from string, links bool) (files int, err error) {
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o750)
		case !d.Type().IsRegular() || strings.HasSuffix(path, ".tmp"):
			return nil
		case links && os.Link(path, target) == nil: //nolint:gosec // callers copy only folders that belong to this process, see datadir
			files++
			return nil
		}
		exists, err := CopyFile(target, path)
		if exists && err == nil {
			files++
		}
		return err
	})
	return files, err
}
