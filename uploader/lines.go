package uploader

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"

	"github.com/klauspost/compress/gzip"
)

// Whoever can write to a bucket can put anything there, and a gzip file of a megabyte unpacks to a gigabyte. So what reads an
// object holds one line of it at a time, and stops where the object's own metadata says that it ends.
const (
	// LineBytesMax bounds one line. The longest event has about 20 KiB, the longest row of statistics about 100 KiB.
	LineBytesMax = 1 << 20
	// RawBytesMax bounds what an object unpacks to, whatever its metadata say: a hundred times what the default
	// archive.object_bytes comes to.
	RawBytesMax = 8 << 30
	// RunsReadMax bounds the runs of sequence numbers of one object, and RowNamesMax the rows of statistics that it counts under.
	RunsReadMax = 1 << 18
	RowNamesMax = 1 << 17
	// overheadBytes is how much larger an object may be than what it unpacks to.
	overheadBytes = 1 << 20
)

// ErrDamaged says that an object is not what wayside writes. The target is not to blame: other objects can be read.
var ErrDamaged = errors.New("archive object is damaged")

func damagedf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

// LineReader reads the lines of one object, within bounds. The error of Next wraps [ErrDamaged], or is that of the reader.
type LineReader struct {
	body  countingSource
	lines *bufio.Reader
	raw   hash.Hash
	long  []byte // a line that does not fit the buffer
	limit uint64 // of raw bytes

	RawBytes uint64 // unpacked so far
	Lines    uint64
}

// NewLineReader begins to read an object with these metadata.
func NewLineReader(body io.Reader, meta map[string]string) (*LineReader, error) {
	r := &LineReader{raw: sha256.New(), limit: RawBytesMax}
	if said, known := meta[MetaRawBytes]; known {
		n, err := strconv.ParseUint(said, 10, 64)
		if err != nil || n > RawBytesMax {
			return nil, damagedf("%s is %.40q in its metadata: want a number up to %d", MetaRawBytes, said, uint64(RawBytesMax))
		}
		r.limit = n
	}
	r.body = countingSource{r: body, h: sha256.New(), limit: r.limit + overheadBytes}
	zip, err := gzip.NewReader(&r.body)
	if err != nil {
		return nil, r.explain(err)
	}
	r.lines = bufio.NewReaderSize(zip, flushBytes)
	return r, nil
}

// Next returns the next line without its line feed, valid until the next call; io.EOF at the end of the object.
func (r *LineReader) Next() ([]byte, error) {
	r.long = r.long[:0]
	for {
		part, err := r.lines.ReadSlice('\n')
		r.RawBytes += uint64(len(part))
		switch {
		case r.RawBytes > r.limit:
			return nil, damagedf("it goes on after the %d bytes that its metadata announce", r.limit)
		case len(r.long)+len(part) > LineBytesMax:
			return nil, damagedf("line %d is longer than %d bytes", r.Lines+1, LineBytesMax)
		case errors.Is(err, bufio.ErrBufferFull):
			r.raw.Write(part) // a hash never fails
			r.long = append(r.long, part...)
			continue
		case errors.Is(err, io.EOF) && len(part)+len(r.long) == 0:
			return nil, io.EOF
		case err != nil:
			return nil, r.explain(err)
		}
		r.raw.Write(part)
		if len(r.long) > 0 {
			r.long = append(r.long, part...)
			part = r.long
		}
		r.Lines++
		return bytes.TrimSuffix(part, []byte{'\n'}), nil
	}
}

// Sums are the size and the hash of the object and the hash of what it unpacks to, hex, once Next has returned io.EOF.
func (r *LineReader) Sums() (bytes uint64, object, raw string) {
	return r.body.n, hex.EncodeToString(r.body.h.Sum(nil)), hex.EncodeToString(r.raw.Sum(nil))
}

// explain tells the object's fault from the target's.
func (r *LineReader) explain(err error) error {
	if r.body.err != nil {
		return r.body.err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return damagedf("%w", err)
}

// countingSource counts and hashes what is read through it, remembers the error of its reader, and ends after limit bytes.
type countingSource struct {
	r     io.Reader
	h     hash.Hash
	n     uint64
	limit uint64
	err   error // of r, other than io.EOF
}

func (c *countingSource) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.h.Write(p[:n])
	c.n += uint64(n) //nolint:gosec // not negative
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	if c.n > c.limit {
		return n, damagedf("it is larger than what it unpacks to")
	}
	return n, err //nolint:wrapcheck // io.EOF must stay what it is
}
