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

// ErrSegment is returned by List, joined with other errors, for a file in which neither copy of the header is valid.
var ErrSegment = errors.New("journal segment without a valid header")

// ErrNewer is returned by CheckVersion for a segment that a newer wayside wrote. Such a segment must not be touched.
var ErrNewer = errors.New("journal segment has a newer version")

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

// List returns the segments of an epoch in dir, oldest generation first. The error names the files that cannot be read, or in which both copies
// of the header are damaged; the other segments are returned with it.
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

// CheckVersion returns ErrNewer if dir contains a segment with a version that this package does not know. All versions begin with the same
// 64-byte header. Damaged headers are reported by List instead.
func CheckVersion(dir string) error {
	for _, name := range Files(dir) {
		page, _, err := readPage(name)
		if err != nil {
			continue
		}
		for _, at := range []int{0, headerCopyOffset} {
			if version := validVersion(page[at : at+headerUsed]); version > segmentVersion {
				return fmt.Errorf("%w: %s has version %d, but this wayside supports only up to %d", ErrNewer, name, version, segmentVersion)
			}
		}
	}
	return nil
}

// validVersion returns the version in a segment header, or 0 if h is damaged or not a segment header.
func validVersion(h []byte) uint32 {
	if string(h[:8]) != magic || crc32c.Sum(h[:60]) != binary.LittleEndian.Uint32(h[60:]) {
		return 0
	}
	return binary.LittleEndian.Uint32(h[8:])
}

// readPage reads the page that contains the headers. If the file is shorter than the page, n is the number of bytes read.
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

// readHeader reads copy A of the header, or copy B if A is damaged. A segment that has never been used has generation 0.
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
	return OldSegment{Path: name}, nil // preallocated but never used, or the process died before it wrote a header
}

// Scan calls fn for each valid record in ascending order of seq. The payload is valid only during the call. If part of the file cannot be
// read, fn is still called for the records before that part.
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

// scan finds the valid records between the header and the end of data. If there is none at an offset, it tries the next multiple of 8, so that
// a gap or a damaged record does not hide the records after it.
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
		// The first two conditions reject most garbage without computing a checksum: the seq must be higher than the previous record's,
		// and there must have been room before this offset for all records with lower seqs.
		if seq < next || (seq-firstSeq)*recordBytesMin > offset-headerBytes || checksum(seed, offset, body) != uint32(word>>32) {
			offset += 8
			continue
		}
		fn(seq, data[offset+recordHeaderBytes:end:end])
		next = seq + 1
		offset += recordBytes(int(n))
	}
}
