package journal

import (
	"cmp"
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

// ErrSegment is returned by List, joined with other errors, for a file neither of whose headers is valid.
var ErrSegment = errors.New("journal segment without a valid header")

// ErrNewer is returned by CheckVersion for a segment that a newer wayside wrote. It must not be touched.
var ErrNewer = errors.New("journal segment is of a newer version")

// OldSegment is a segment file of a dead process.
type OldSegment struct {
	Path       string
	Generation uint64
	FirstSeq   uint64
	epoch      uuid.UUID
}

// Files returns the paths of all segment files in dir.
func Files(dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, "journal-*.seg")) // the pattern is valid
	return names
}

// List returns the segments of an epoch in dir, oldest generation first. The error names files that cannot be read, or whose headers are
// both damaged; the others are returned with it.
func List(dir string, epoch uuid.UUID) ([]OldSegment, error) {
	var out []OldSegment
	var errs []error
	for _, name := range Files(dir) {
		segment, err := readHeader(name, epoch)
		if err != nil {
			errs = append(errs, err)
		} else if segment.Generation > 0 {
			out = append(out, segment)
		}
	}
	slices.SortFunc(out, func(a, b OldSegment) int { return cmp.Compare(a.Generation, b.Generation) })
	return out, errors.Join(errs...)
}

// CheckVersion returns ErrNewer if dir holds a segment of a version that this package does not know. Every version begins with the same 64
// bytes of header. List reports damaged headers.
func CheckVersion(dir string) error {
	for _, name := range Files(dir) {
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

// validVersion returns the version in a header; 0 if the header is damaged or not one of a segment.
func validVersion(h []byte) uint32 {
	if string(h[:8]) != magic || crc32c.Sum(h[:60]) != binary.LittleEndian.Uint32(h[60:]) {
		return 0
	}
	return binary.LittleEndian.Uint32(h[8:])
}

// readPage reads the page with the headers; n is less than its size if the file is shorter.
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

// readHeader reads copy A, or B if A is damaged. A segment that was never used has generation 0.
func readHeader(name string, epoch uuid.UUID) (OldSegment, error) {
	page, n, err := readPage(name)
	if err != nil {
		return OldSegment{}, err
	}
	for _, at := range []int{0, headerCopyOffset} {
		h := page[at : at+headerUsed]
		if validVersion(h) == segmentVersion && string(h[16:32]) == string(epoch[:]) {
			return OldSegment{
				Path: name, epoch: epoch,
				Generation: binary.LittleEndian.Uint64(h[32:]), FirstSeq: binary.LittleEndian.Uint64(h[40:]),
			}, nil
		}
	}
	for _, b := range page[:n] {
		if b != 0 {
			return OldSegment{}, fmt.Errorf("%w: %s", ErrSegment, name)
		}
	}
	return OldSegment{Path: name}, nil // preallocated and never used, or the process died before that
}

// Scan calls fn for each valid record in ascending order of seq. The payload is valid only during the call. If a part of the file cannot be
// read, fn is still called for the records before it.
func (s OldSegment) Scan(fn func(seq uint64, payload []byte)) error {
	data, err := os.ReadFile(s.Path)
	if len(data) > headerBytes {
		scan(data, seedOf(s.epoch, s.Generation), s.FirstSeq, fn)
	}
	if err != nil {
		return fmt.Errorf("recover journal: %w", err)
	}
	return nil
}

// recordBytesMin is smaller than any record.
const recordBytesMin = recordHeaderBytes + 8

// scan finds the valid records between the header and the end of data. If there is none at an offset, it tries the next multiple of 8: a
// hole or a damaged record does not hide those behind it.
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
		// The first two conditions reject most garbage without computing a checksum: a record has a higher seq than the one before it,
		// and is preceded by the records between.
		if seq < next || (seq-firstSeq)*recordBytesMin > offset-headerBytes || checksum(seed, offset, body) != uint32(word>>32) {
			offset += 8
			continue
		}
		fn(seq, data[offset+recordHeaderBytes:end:end])
		next = seq + 1
		offset += recordBytes(int(n))
	}
}
