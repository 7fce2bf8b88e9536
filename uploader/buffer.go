package uploader

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// bufferBytes is how much of an object is held in memory: the default object size and an eighth for estimates that were too
// low.
const bufferBytes = 9 << 20

// objectBuffer holds one compressed object between its making and its sending. Both need it: the request is signed over
// the hash of its body, and a connection that breaks half-way must be able to start again.
//
// It is memory only, so that archiving needs no disk: neither one that is full, which is when archiving is needed most, nor one
// that may not be written. An object that does not fit, because an estimate was far too low or archive.object_bytes is larger,
// is not kept: readers make it again each time, which the same plan does to the same bytes (see [rewriter]). That costs
// processor time and no memory.
//
// The memory is mapped and not Go's. On Go's heap the garbage collector would let as much garbage pile up beside an object
// as the object is large, and would give nothing back for minutes after a job; a mapping costs the pages that were
// written, until release.
//
// Not for concurrent use; several readers may take turns.
type objectBuffer struct {
	// again writes the same bytes once more. It must be set before reader is called on an object that is larger than bufferBytes.
	again func(io.Writer) error

	memory []byte // mapped; nil before the first write, and where there was none to be had
	size   int64
}

// Write appends p, and only counts what is beyond the memory.
func (b *objectBuffer) Write(p []byte) (int, error) {
	b.acquire()
	if b.size < int64(len(b.memory)) {
		copy(b.memory[b.size:], p)
	}
	b.size += int64(len(p))
	return len(p), nil
}

// acquire maps the memory. Without any to be had, objects are made again for each reader.
func (b *objectBuffer) acquire() {
	if b.memory != nil {
		return
	}
	memory, err := unix.Mmap(-1, 0, bufferBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		b.memory = memory
	}
}

// reset forgets the content and keeps the memory.
func (b *objectBuffer) reset() {
	b.size, b.again = 0, nil
}

// release is reset that gives the memory back. No reader may be in use.
func (b *objectBuffer) release() {
	b.reset()
	if b.memory != nil {
		_ = unix.Munmap(b.memory) // fails only for what is not mapped
		b.memory = nil
	}
}

// reader returns a reader over the content from its beginning, to be closed before the next reset.
func (b *objectBuffer) reader() *objectReader {
	if b.size <= int64(len(b.memory)) {
		return &objectReader{size: b.size, memory: b.memory[:b.size]}
	}
	return &objectReader{size: b.size, again: &rewriter{write: b.again}}
}

// objectReader reads an object from memory, or as it is made again.
type objectReader struct {
	size, at int64
	memory   []byte
	again    *rewriter // nil: from memory
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
		err = io.ErrUnexpectedEOF // the bytes are fewer than they were
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

// close ends the making again. A reader that is closed must not be read.
func (r *objectReader) close() {
	if r.again != nil {
		r.again.close()
	}
}

// rewriter reads what write writes, from the beginning again after each step back. write runs in a goroutine of its own, at
// most one at a time, until it has written everything or close is called.
type rewriter struct {
	write func(io.Writer) error
	pipe  *io.PipeReader // nil while nothing runs
	at    int64          // of the next byte in the pipe
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
	if at > r.at { // a step forward
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

// close ends a write that is under way and waits for it.
func (r *rewriter) close() {
	if r.pipe == nil {
		return
	}
	_ = r.pipe.Close() // its error is always nil
	<-r.done
	r.pipe = nil
}
