package store

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// pageout asks the kernel to take back the memory of mapped tables and logs below the store's folder, which otherwise
// counts as this process's until something else needs it. It returns the bytes of address space that the hint covered.
//
// The advice is MADV_PAGEOUT and not MADV_DONTNEED: Badger may unmap a table between our reading of the list of mappings
// and the call, and Go may have taken the addresses. MADV_PAGEOUT never changes what memory holds; MADV_DONTNEED would
// zero it.
func (s *Store) pageout() (covered uint64) {
	dir, err := filepath.Abs(s.o.Dir)
	if err != nil {
		return 0
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	prefix := []byte(dir + "/")
	for lines := bufio.NewScanner(f); lines.Scan(); {
		start, end, ok := mappedFile(lines.Bytes(), prefix)
		if !ok {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_PAGEOUT); errno == 0 {
			covered += uint64(end - start)
		}
	}
	return covered
}

// mappedFile reads a line of /proc/self/maps: the address range, if a file below the prefix is mapped there.
func mappedFile(line, prefix []byte) (start, end uintptr, ok bool) {
	at := bytes.Index(line, prefix)
	if at < 0 {
		return 0, 0, false
	}
	addresses, _, _ := bytes.Cut(line, []byte(" "))
	from, to, found := bytes.Cut(addresses, []byte("-"))
	if !found {
		return 0, 0, false
	}
	a, err := strconv.ParseUint(string(from), 16, 64)
	if err != nil {
		return 0, 0, false
	}
	b, err := strconv.ParseUint(string(to), 16, 64)
	if err != nil || b <= a {
		return 0, 0, false
	}
	return uintptr(a), uintptr(b), true
}
