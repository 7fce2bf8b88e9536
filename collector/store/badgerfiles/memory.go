package badgerfiles

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strconv"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2/z"
	"golang.org/x/sys/unix"
)

// builderPoolMax is the number of buffers that Badger's pool for table builders holds.
const builderPoolMax = 8

// TrimBuilders releases the idle buffers of Badger's table builders. Badger keeps eight of them, each as large as the largest table that it
// ever built, and releases them only after it has built nothing for seconds: during the drain of a backlog that is 100 MiB and more. The
// pool is a private field with public methods. If this version of Badger does not have it there, TrimBuilders does nothing.
func TrimBuilders(db *badger.DB) {
	field := reflect.ValueOf(db).Elem().FieldByName("allocPool")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*z.AllocatorPool]() || field.IsNil() {
		return
	}
	pool := (*z.AllocatorPool)(field.UnsafePointer())
	for range builderPoolMax {
		pool.Get(0, "trim").Release()
	}
}

// PageOut asks the kernel to reclaim the memory of mapped files below a folder. Without this hint it counts as this process's memory until
// something else needs it. PageOut returns the bytes of address space that the hint covered.
//
// The hint is MADV_PAGEOUT and not MADV_DONTNEED: Badger may unmap a table between the reading of the list of mappings and the call, and
// Go may have taken the addresses. MADV_PAGEOUT never changes the content of memory; MADV_DONTNEED would zero it.
func PageOut(dir string) (covered uint64) {
	dir, err := filepath.Abs(dir)
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
	if !bytes.Contains(line, prefix) {
		return 0, 0, false
	}
	addresses, _, _ := bytes.Cut(line, []byte(" "))
	first, last, _ := bytes.Cut(addresses, []byte("-"))
	a, err := strconv.ParseUint(string(first), 16, 64)
	if err != nil {
		return 0, 0, false
	}
	b, err := strconv.ParseUint(string(last), 16, 64)
	if err != nil || b <= a {
		return 0, 0, false
	}
	return uintptr(a), uintptr(b), true
}
