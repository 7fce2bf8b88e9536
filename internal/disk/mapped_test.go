package disk

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestMapped(t *testing.T) {
	dir := t.TempDir()
	var pages [2][]byte
	for i, name := range []string{"a", "a b"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 3*4096), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if pages[i], err = unix.Mmap(int(f.Fd()), 0, 3*4096, unix.PROT_READ, unix.MAP_SHARED); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Munmap(pages[i]) }()
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]int{dir + "/a": {0}, link + "/a": {0}, link + "/a b": {1}, dir + "/": {0, 1}, link + "/": {0, 1}, dir + "/b": nil} {
		found := map[uintptr]uintptr{}
		if err := Mapped(name, func(start, end uintptr) { found[start] = end }); err != nil {
			t.Fatal(err)
		}
		if len(found) != len(want) {
			t.Errorf("%q: %d mappings, want %d", name, len(found), len(want))
		}
		for _, i := range want {
			start := uintptr(unsafe.Pointer(&pages[i][0]))
			if found[start] != start+3*4096 {
				t.Errorf("%q: the mapping at %x ends at %x", name, start, found[start])
			}
		}
	}
}

func TestMappedFile(t *testing.T) {
	const line = "7f00-7f80 r--s 00000000 fe:00 123   /data/spool/queue.db"
	if a, b, ok := mappedFile([]byte(line), "/data/spool/"); !ok || a != 0x7f00 || b != 0x7f80 {
		t.Error(a, b, ok)
	}
	for _, name := range []string{"/data/spool", "/spool/", "/data/spool/queue.db.new"} {
		if _, _, ok := mappedFile([]byte(line), name); ok {
			t.Errorf("%s is mapped", name)
		}
	}
	for _, bad := range []string{"", "/data/spool/queue.db", "7f00 r--s 0 0 0 /data/spool/queue.db", "7f80-7f00 r--s 0 0 0 /data/spool/queue.db"} {
		if _, _, ok := mappedFile([]byte(bad), "/data/spool/queue.db"); ok {
			t.Errorf("%q is accepted", bad)
		}
	}
}
