package memfault

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCatch(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "mapped"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(8192); err != nil {
		t.Fatal(err)
	}
	page, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(page) }()
	if err := f.Truncate(4096); err != nil { // the second page is no longer backed by the file
		t.Fatal(err)
	}
	sum := 0
	if err := Catch(func() { sum += int(page[5000]) }); !errors.Is(err, ErrPanic) {
		t.Errorf("access behind the end of the file: %v", err)
	}
	if err := Catch(func() { sum += int(page[0]) }); err != nil {
		t.Errorf("access within the file: %v", err)
	}
	own := errors.New("own")
	if err := CatchError(func() error { return own }); !errors.Is(err, own) || errors.Is(err, ErrPanic) {
		t.Errorf("an error of its own: %v", err)
	}
	if err := CatchError(func() error { panic("x") }); !errors.Is(err, ErrPanic) {
		t.Errorf("a panic: %v", err)
	}
}
