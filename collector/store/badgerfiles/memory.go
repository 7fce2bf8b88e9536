package badgerfiles

import (
	"reflect"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2/z"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/disk"
)

// builderPoolMax is the number of buffers in Badger's pool for table builders.
const builderPoolMax = 8

// TrimBuilders releases the idle buffers of Badger's table builders. Badger keeps eight of them, each as large as the largest table that
// was ever built in it, and releases them only after several seconds without building a table. While a backlog is being drained, they
// take up 100 MiB or more. The pool is a private field with public methods. TrimBuilders does nothing if this version of Badger has no
// such field.
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

// PageOut asks the kernel to reclaim the memory of mapped files below a folder. Otherwise this memory counts as used by this process
// until something else needs it. PageOut returns the size, in bytes, of the address ranges that it has passed to the kernel.
//
// It uses MADV_PAGEOUT rather than MADV_DONTNEED: after the list of mappings has been read and before the call, Badger may unmap a table
// and Go may reuse the table's addresses. MADV_PAGEOUT never changes the content of memory; MADV_DONTNEED would zero it.
func PageOut(dir string) (covered uint64) {
	_ = disk.Mapped(dir+"/", func(start, end uintptr) { // after an error, the rest stays in memory
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_PAGEOUT); errno == 0 {
			covered += uint64(end - start)
		}
	})
	return covered
}
