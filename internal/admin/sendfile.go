package admin

import (
	"os"

	"golang.org/x/sys/unix"
)

// sendfileBytesMin is the length from which sending pages that are in memory already costs less than copying them.
const sendfileBytesMin = 16 << 10

// response is a complete response, header and all.
type response struct {
	bytes []byte
	file  *os.File // the same in memory pages of the kernel; nil for short ones, or where there are none to be had
	fd    int      // file's
}

// newResponse keeps a long response in a memory file. It is closed when the last response is garbage and sent.
func newResponse(text []byte) *response {
	r := &response{bytes: text}
	if len(text) < sendfileBytesMin {
		return r
	}
	fd, err := unix.MemfdCreate("wayside-snapshot", unix.MFD_CLOEXEC)
	if err != nil {
		return r // an old kernel or a strict sandbox: copying does it as well
	}
	file := os.NewFile(uintptr(fd), "snapshot")
	if _, err := file.Write(text); err != nil {
		_ = file.Close()
		return r
	}
	r.file, r.fd = file, fd
	return r
}
