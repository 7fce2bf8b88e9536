package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	name, temp, victim := filepath.Join(dir, "name"), filepath.Join(dir, "name.tmp"), filepath.Join(dir, "victim")
	if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), os.Link(victim, temp), os.Symlink(victim, name)); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"first", "second"} {
		if err := WriteFile(name, temp, strings.NewReader(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(name); string(text) != content {
			t.Errorf("%q, %v, want %q", text, err, content)
		}
	}
	failed := errors.New("failed")
	if err := WriteFile(name, temp, iotest.ErrReader(failed), 0o600); !errors.Is(err, failed) {
		t.Errorf("content that cannot be read: %v", err)
	}
	if text, err := os.ReadFile(name); string(text) != "second" {
		t.Errorf("after a failure: %q, %v", text, err)
	}
	if text, err := os.ReadFile(victim); string(text) != "precious" {
		t.Errorf("the other file is %q, %v", text, err)
	}
	if _, err := os.Lstat(temp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file stays: %v", err)
	}
}

// If somebody creates a link under the temporary name after that was removed, nothing is written through it.
func TestCreateFollowsNoLink(t *testing.T) {
	for kind, link := range map[string]func(string, string) error{"symbolic": os.Symlink, "hard": os.Link} {
		dir := t.TempDir()
		victim, name := filepath.Join(dir, "victim"), filepath.Join(dir, "name")
		if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), link(victim, name)); err != nil {
			t.Fatal(err)
		}
		if err := create(name, strings.NewReader("x"), 0o600); !errors.Is(err, os.ErrExist) {
			t.Errorf("%s: %v", kind, err)
		}
		if text, err := os.ReadFile(victim); string(text) != "precious" {
			t.Errorf("%s: the other file is %q, %v", kind, text, err)
		}
	}
}
