package uploader

import (
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	chunkBytes = 256 << 10
	// spillBytes is how much of an object is held in memory: the default object size and an eighth for estimates that
	// were too low.
	spillBytes = 9 << 20
)

// objectBuffer holds one compressed object between its making and its sending. Both need it: the request is signed over
// the hash of its body, and a connection that breaks half-way must be able to start again.
//
// It is memory first, in chunks (a growing slice would double and copy), so that archiving goes on when the disk is full,
// which is when it is needed most. What passes spillBytes, which only happens where an estimate was far too low, goes to
// an unlinked temporary file: a plan is executed as written, and memory stays bounded.
//
// Not for concurrent use; several readers may take turns.
type objectBuffer struct {
	dir string // of the temporary file; "" means the system's

	chunks [][]byte // all but the last in use are full; reused between objects
	size   int64
	file   *os.File // holds what lies behind spillBytes
}

// Write appends p.
func (b *objectBuffer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 && b.size < spillBytes {
		i, at := int(b.size/chunkBytes), int(b.size%chunkBytes)
		if i == len(b.chunks) {
			b.chunks = append(b.chunks, make([]byte, chunkBytes))
		}
		n := copy(b.chunks[i][at:], p)
		b.size += int64(n)
		written += n
		p = p[n:]
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
	n, err := b.file.WriteAt(p, b.size-spillBytes)
	b.size += int64(n)
	written += n
	if err != nil {
		return written, fmt.Errorf("spill a large object to disk: %w", err)
	}
	return written, nil
}

// reset forgets the content and keeps the memory.
func (b *objectBuffer) reset() {
	b.size = 0
	if b.file != nil {
		_ = b.file.Close() // unlinked: nothing depends on it
		b.file = nil
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
	if r.at < spillBytes {
		chunk := r.b.chunks[r.at/chunkBytes]
		end := min(int64(chunkBytes), r.b.size-r.at/chunkBytes*chunkBytes)
		n = copy(p, chunk[r.at%chunkBytes:end])
	} else {
		left := r.b.size - r.at
		n, err = r.b.file.ReadAt(p[:min(int64(len(p)), left)], r.at-spillBytes)
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
