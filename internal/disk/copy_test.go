package disk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestCopyTree(t *testing.T) {
	for _, links := range []bool{false, true} {
		from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
		if err := errors.Join(
			os.Mkdir(filepath.Join(from, "sub"), 0o700),
			os.WriteFile(filepath.Join(from, "a"), []byte("first"), 0o600),
			os.WriteFile(filepath.Join(from, "sub", "b"), []byte("second"), 0o640),
			os.WriteFile(filepath.Join(from, "b.tmp"), nil, 0o600),
			os.Symlink("a", filepath.Join(from, "link")),
		); err != nil {
			t.Fatal(err)
		}
		if n, err := CopyTree(t.Context(), to, from, links); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		for name, want := range map[string]string{"a": "first", "sub/b": "second"} {
			source, err := os.Stat(filepath.Join(from, name))
			made, err2 := os.Stat(filepath.Join(to, name))
			text, err3 := os.ReadFile(filepath.Join(to, name))
			if err := errors.Join(err, err2, err3); err != nil || string(text) != want || made.Mode() != source.Mode() || os.SameFile(made, source) != links {
				t.Errorf("%s, links %v: %q, %v, %v, same file: %v", name, links, text, err, made.Mode(), os.SameFile(made, source))
			}
		}
		entries, err := os.ReadDir(to)
		if err != nil || !slices.EqualFunc(entries, []string{"a", "sub"}, func(e os.DirEntry, name string) bool { return e.Name() == name }) {
			t.Errorf("%v, %v", entries, err)
		}
		if _, err := CopyTree(t.Context(), to, from, links); !errors.Is(err, os.ErrExist) {
			t.Errorf("an existing file was overwritten: %v", err)
		}
	}
	if n, err := CopyTree(t.Context(), filepath.Join(t.TempDir(), "copy"), filepath.Join(t.TempDir(), "missing"), false); n != 0 || err != nil {
		t.Errorf("missing folder: %d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := CopyTree(ctx, filepath.Join(t.TempDir(), "copy"), t.TempDir(), false); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestCopyFile(t *testing.T) {
	dir := t.TempDir()
	if exists, err := CopyFile(filepath.Join(dir, "to"), filepath.Join(dir, "missing")); exists || err != nil {
		t.Errorf("missing: %v, %v", exists, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if exists, err := CopyFile(filepath.Join(dir, "missing", "to"), filepath.Join(dir, "a")); exists || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into a missing folder: %v, %v", exists, err)
	}
}

func TestExisting(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{dir, filepath.Join(dir, "a"), filepath.Join(dir, "a", "b")} {
		if got := Existing(name); got != dir {
			t.Errorf("%s: %s", name, got)
		}
	}
	fs, err := FilesystemOf(dir)
	free, err2 := Free(dir)
	if err := errors.Join(err, err2); err != nil || fs.Bytes <= 0 || fs.FreeBytes < 0 || fs.FreeBytes > fs.Bytes || free > fs.Bytes || fs.Type == 0 {
		t.Errorf("%+v, %d, %v", fs, free, err)
	}
	if _, err := FilesystemOf(filepath.Join(dir, "a")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
