package badgerfiles

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Clone makes a temporary copy of a folder that no process has open. Tables never change, so Clone makes hard links to them if the
// filesystem allows it. Logs are copied, because Badger truncates their unfinished ends when it opens the copy.
func Clone(to, from string) error {
	if err := clone(to, from); err != nil {
		return fmt.Errorf("clone store: %w", err)
	}
	return nil
}

func clone(to, from string) error {
	if err := os.MkdirAll(to, 0o750); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		old, name := filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())
		if !entry.Type().IsRegular() || entry.Name() == "LOCK" {
			continue
		}
		if strings.HasSuffix(name, ".sst") && os.Link(old, name) == nil {
			continue
		}
		if err := copySparse(name, old); err != nil {
			return err
		}
	}
	return nil
}

// copySparse copies a file but skips pages of zeros, because logs are preallocated.
func copySparse(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	size, err := copyPages(out, in)
	return errors.Join(err, out.Truncate(size), out.Close())
}

func copyPages(out, in *os.File) (at int64, err error) {
	page, zero := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(in, page)
		if string(page[:n]) != string(zero[:n]) {
			if _, err := out.WriteAt(page[:n], at); err != nil {
				return at, err
			}
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return at, nil
		case err != nil:
			return at, err
		}
	}
}
