package uploader

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// spillBytes is how much of an object is held in memory: the default object size and an eighth for estimates that were too
// low.
const spillBytes = 9 << 20

// objectBuffer holds one compressed object between its making and its sending. Both need it: the request is signed over
// the hash of its body, and a connection that breaks half-way must be able to start again.
//
// It is memory first, so that archiving goes on when the disk is full, which is when it is needed most. What passes
// spillBytes, which only happens where an estimate was far too low or archive.object_bytes is larger, goes to an unlinked
// temporary file: a plan is executed as written, and memory stays bounded.
//
// The memory is mapped and not Go's. On Go's heap the garbage collector would let as much garbage pile up beside an object
// as the object is large, and would give nothing back for minutes after a job; a mapping costs the pages that were
// written, until release.
//
// Not for concurrent use; several readers may take turns.
type objectBuffer struct {
	dir string // of the temporary file; "" means the system's

	memory []byte // mapped; nil before the first write, and where there was none to be had
	size   int64
	inFile int64    // the part of size that stands in the file, behind what is in memory
	file   *os.File // nil until something spills
}

// Write appends p.
func (b *objectBuffer) Write(p []byte) (int, error) {
	written := 0
	if b.inFile == 0 {
		b.acquire()
		written = copy(b.memory[b.size:], p)
		b.size += int64(written)
		p = p[written:]
	}
	if len(p) == 0 {
		return written, nil
	}
	if b.file == nil {
		f, err := os.CreateTemp(b.dir, "wayside-object-*")
		if err != nil {
			return written, fmt.Errorf("spill a large object to disk: %w", err)
		}
		b.file = f
		if err := os.Remove(f.Name()); err != nil {
			return written, fmt.Errorf("spill a large object to disk: %w", err)
		}
	}
	n, err := b.file.WriteAt(p, b.inFile)
	b.size += int64(n)
	b.inFile += int64(n)
	written += n
	if err != nil {
		return written, fmt.Errorf("spill a large object to disk: %w", err)
	}
	return written, nil
}

// acquire maps the memory. Without any to be had, objects are built in the file.
func (b *objectBuffer) acquire() {
	if b.memory != nil {
		return
	}
	memory, err := unix.Mmap(-1, 0, spillBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		b.memory = memory
	}
}

// reset forgets the content and keeps the memory.
func (b *objectBuffer) reset() {
	b.size, b.inFile = 0, 0
	if b.file != nil {
		_ = b.file.Close() // unlinked: nothing depends on it
		b.file = nil
	}
}

// release is reset that gives the memory back. No reader may be in use.
func (b *objectBuffer) release() {
	b.reset()
	if b.memory != nil {
		_ = unix.Munmap(b.memory) // fails only for what is not mapped
		b.memory = nil
	}
}

// reader returns a reader over the content from its beginning, valid until the next reset.
func (b *objectBuffer) reader() *bufferReader { return &bufferReader{b: b} }

type bufferReader struct {
	b  *objectBuffer
	at int64
}

func (r *bufferReader) Read(p []byte) (int, error) {
	if r.at >= r.b.size {
		return 0, io.EOF
	}
	var n int
	var err error
	if inMemory := r.b.size - r.b.inFile; r.at < inMemory {
		n = copy(p, r.b.memory[r.at:inMemory])
	} else {
		left := r.b.size - r.at
		n, err = r.b.file.ReadAt(p[:min(int64(len(p)), left)], r.at-inMemory)
	}
	r.at += int64(n)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

func (r *bufferReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.b.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning of an object")
	}
	r.at = offset
	return offset, nil
}
