package queue

import (
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/disk"
)

// releaseBytes is the number of bytes of values after which the file's pages are released.
const releaseBytes = 2 << 20

// touch notes that n bytes of values were read or written. bbolt maps the whole file, and every page that it has touched counts as memory
// of this process for as long as the file is open, even if the batch on it was removed long ago. So after releaseBytes, the pages are
// released.
func (f *File) touch(n int) {
	if f.touched.Add(int64(n)) < releaseBytes {
		return
	}
	f.touched.Store(0)
	f.releasePages()
}

// releasePages removes the file's pages from the memory of this process. They remain in the kernel's page cache, so the next access to one
// of them costs a minor page fault, but reads nothing from the disk. During the transaction, bbolt does not unmap the file, so the address
// range is valid. MADV_DONTNEED changes nothing in a shared mapping.
func (f *File) releasePages() {
	_ = f.view(func(*bolt.Tx) error { // after an error, the pages remain in memory
		return disk.Mapped(f.name, func(start, end uintptr) {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED) // the result does not matter
		})
	})
}
