package uploader

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// bufferBytes is the maximum number of bytes of an object that are kept in memory: the default object size, and an eighth more in case
// the estimate was too low. It is a variable because tests use a smaller buffer.
var bufferBytes = 9 << 20

// objectBuffer holds one compressed object until it has been sent. The whole object must be available: the signature of a request covers
// the hash of the body, and the request must be able to send the body again if the connection breaks.
//
// It uses no disk, because archiving is needed most when the disk is full. If an object does not fit, because the estimate was far too
// low or archive.object_bytes is larger, the buffer does not keep it. Instead, each reader builds the object again, with the same bytes
// (see [rewriter]). That takes CPU time but no memory.
//
// The memory is mapped, not allocated by Go. If it were on Go's heap, the garbage collector would tolerate garbage of the same size as
// the object, and would keep the memory for minutes after a job. A mapping takes up only the pages that were written, and only until trim
// or release.
//
// It is not safe for concurrent use. Several readers may take turns.
type objectBuffer struct {
	// again writes the same bytes again. It must be set before reader is called on an object larger than bufferBytes.
	again func(io.Writer) error

	memory []byte // mapped; nil before the first write, and if the kernel refused the mapping
	size   int64

	written int64 // maximum number of bytes in memory since the last trim
	present int64 // number of bytes whose pages may be in use
}

// Write appends p. It only counts the bytes that do not fit.
func (b *objectBuffer) Write(p []byte) (int, error) {
	b.acquire()
	if b.size < int64(len(b.memory)) {
		copy(b.memory[b.size:], p)
	}
	b.size += int64(len(p))
	b.written = max(b.written, min(b.size, int64(len(b.memory))))
	return len(p), nil
}

// acquire maps the memory. If the kernel refuses the mapping, each reader builds the object again.
func (b *objectBuffer) acquire() {
	if b.memory != nil {
		return
	}
	memory, err := unix.Mmap(-1, 0, bufferBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		b.memory = memory
	}
}

// reset discards the content but keeps the memory.
func (b *objectBuffer) reset() {
	b.size, b.again = 0, nil
}

// release discards the content and frees the memory. No reader may be in use.
func (b *objectBuffer) release() {
	b.reset()
	if b.memory != nil {
		_ = unix.Munmap(b.memory) // fails only if the memory is not mapped
		b.memory = nil
	}
	b.written, b.present = 0, 0
}

// trim discards the content. It keeps the pages that were written since the last trim, for objects of the same size, and frees the other
// pages.
func (b *objectBuffer) trim() {
	b.reset()
	page := int64(unix.Getpagesize())
	keep := (b.written + page - 1) / page * page
	if keep < b.present {
		_ = unix.Madvise(b.memory[keep:min(b.present, int64(len(b.memory)))], unix.MADV_DONTNEED) // after a failure, they stay until release
	}
	b.written, b.present = 0, keep
}

// reader returns a reader of the whole content. It must be closed before the next reset.
func (b *objectBuffer) reader() *objectReader {
	if b.size <= int64(len(b.memory)) {
		return &objectReader{size: b.size, memory: b.memory[:b.size]}
	}
	return &objectReader{size: b.size, again: &rewriter{write: b.again}}
}

// objectReader reads an object from memory or, if the object is not in memory, uses the field again to build it once more.
type objectReader struct {
	size, at int64
	memory   []byte
	again    *rewriter // nil when reading from memory
}

func (r *objectReader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if r.again == nil {
		n := copy(p, r.memory[r.at:])
		r.at += int64(n)
		return n, nil
	}
	n, err := r.again.readAt(p[:min(int64(len(p)), r.size-r.at)], r.at)
	r.at += int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // there are fewer bytes than in the first pass
	}
	return n, err
}

func (r *objectReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning of an object")
	}
	r.at = offset
	return offset, nil
}

// close stops the building of the object, if it is in progress. The reader must not be used afterwards.
func (r *objectReader) close() {
	if r.again != nil {
		r.again.close()
	}
}

// rewriter is a reader of the bytes that the function write writes. After a backward seek, it calls write again. write runs in its own
// goroutine until it has written everything or close is called. There is at most one such goroutine.
type rewriter struct {
	write func(io.Writer) error
	pipe  *io.PipeReader // nil while write is not running
	at    int64          // position of the next byte in the pipe
	done  chan struct{}  // closed when write has returned
}

func (r *rewriter) readAt(p []byte, at int64) (int, error) {
	if r.pipe == nil || at < r.at {
		r.close()
		pipe, in := io.Pipe()
		r.pipe, r.at, r.done = pipe, 0, make(chan struct{})
		go func(done chan struct{}) {
			defer close(done)
			_ = in.CloseWithError(r.write(in)) // its error is always nil
		}(r.done)
	}
	if at > r.at { // after a forward seek
		skipped, err := io.CopyN(io.Discard, r.pipe, at-r.at)
		r.at += skipped
		if err != nil {
			return 0, err
		}
	}
	n, err := r.pipe.Read(p)
	r.at += int64(n)
	return n, err
}

// close stops a running write and waits for it.
func (r *rewriter) close() {
	if r.pipe == nil {
		return
	}
	_ = r.pipe.Close() // its error is always nil
	<-r.done
	r.pipe = nil
}
