package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/crc32c"
	"github.com/wayside-proxy/wayside/internal/event"
)

// ErrSegment is returned by List, joined with what else went wrong, for a file neither of whose headers is valid.
var ErrSegment = errors.New("journal segment without a valid header")

// ErrNewer is returned by Version for a segment that a newer wayside wrote: it is left as it is.
var ErrNewer = errors.New("journal segment is of a newer version")

// Left is a segment file that an earlier process left behind.
type Left struct {
	Path       string
	Generation uint64
	FirstSeq   uint64
	epoch      uuid.UUID
}

// List returns the segments of an epoch in dir, oldest generation first. Files that cannot be read, or whose headers are
// both damaged, are named in the error; the others are returned all the same.
func List(dir string, epoch uuid.UUID) ([]Left, error) {
	names, err := filepath.Glob(filepath.Join(dir, "journal-*.seg"))
	if err != nil {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	var out []Left
	var errs []error
	for _, name := range names {
		left, err := readHeader(name, epoch)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if left.Generation > 0 {
			out = append(out, left)
		}
	}
	slices.SortFunc(out, func(a, b Left) int {
		if a.Generation < b.Generation {
			return -1
		}
		return 1
	})
	return out, errors.Join(errs...)
}

// Version reports ErrNewer if dir holds a segment of a version that this package does not know. Every version begins with the
// same 64 bytes of header. What is damaged otherwise is for List to say.
func Version(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "journal-*.seg"))
	if err != nil {
		return fmt.Errorf("list journal: %w", err)
	}
	for _, name := range names {
		page, _, err := readPage(name)
		if err != nil {
			continue
		}
		for _, at := range []int{0, headerCopyOffset} {
			if version := validVersion(page[at : at+headerUsed]); version > segmentVersion {
				return fmt.Errorf("%w: %s is of version %d, this wayside knows %d", ErrNewer, name, version, segmentVersion)
			}
		}
	}
	return nil
}

// validVersion is 0 for a header that is damaged, or of no segment.
func validVersion(h []byte) uint32 {
	if string(h[:8]) != magic || crc32c.Sum(h[:60]) != binary.LittleEndian.Uint32(h[60:]) {
		return 0
	}
	return binary.LittleEndian.Uint32(h[8:])
}

// readPage reads the page with the headers; n is the number of bytes there are.
func readPage(name string) (page [headerBytes]byte, n int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return page, 0, fmt.Errorf("recover journal: %w", err)
	}
	defer func() { _ = f.Close() }()
	n, err = io.ReadFull(f, page[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return page, n, fmt.Errorf("recover journal: %w", err)
	}
	return page, n, nil
}

// readHeader takes copy A, or B if A is damaged. A segment that was never in use has generation 0.
func readHeader(name string, epoch uuid.UUID) (Left, error) {
	page, n, err := readPage(name)
	if err != nil {
		return Left{}, err
	}
	for _, at := range []int{0, headerCopyOffset} {
		h := page[at : at+headerUsed]
		if validVersion(h) == segmentVersion && string(h[16:32]) == string(epoch[:]) {
			return Left{
				Path: name, epoch: epoch,
				Generation: binary.LittleEndian.Uint64(h[32:]), FirstSeq: binary.LittleEndian.Uint64(h[40:]),
			}, nil
		}
	}
	for _, b := range page[:n] {
		if b != 0 {
			return Left{}, fmt.Errorf("%w: %s", ErrSegment, name)
		}
	}
	return Left{Path: name}, nil // preallocated, never used (or cut short before that)
}

// Scan calls fn for each valid record in ascending order of seq. The payload is valid only during the call. What can be
// read of a file with unreadable parts is still delivered.
func (l Left) Scan(fn func(seq uint64, payload []byte)) error {
	data, err := os.ReadFile(l.Path)
	if len(data) > headerBytes {
		scan(data, seedOf(l.epoch, l.Generation), l.FirstSeq, fn)
	}
	if err != nil {
		return fmt.Errorf("recover journal: %w", err)
	}
	return nil
}

// recordBytesMin is less than any record takes.
const recordBytesMin = recordHeaderBytes + 8

// scan finds the valid records between the header and the end of data. Where there is none it tries the next multiple of
// 8, so that a hole or a damaged record costs only itself.
func scan(data []byte, seed uint32, firstSeq uint64, fn func(seq uint64, payload []byte)) {
	size := uint64(len(data))
	next := firstSeq
	for offset := uint64(headerBytes); offset+recordHeaderBytes < size; {
		word := binary.LittleEndian.Uint64(data[offset:])
		n := word & (1<<32 - 1)
		end := offset + recordHeaderBytes + n
		if n == 0 || n > event.SizeMax || end > size {
			offset += 8
			continue
		}
		body := data[offset+8 : end]
		seq := binary.LittleEndian.Uint64(body)
		// The bounds keep garbage from costing a checksum: at least so many bytes precede the record with that index.
		if seq < next || (seq-firstSeq)*recordBytesMin > offset-headerBytes || checksum(seed, offset, body) != uint32(word>>32) {
			offset += 8
			continue
		}
		fn(seq, data[offset+recordHeaderBytes:end:end])
		next = seq + 1
		offset += recordBytes(int(n))
	}
}
