package journal

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/crc32c"
	"github.com/wayside-proxy/wayside/internal/memfault"
)

const (
	headerBytes       = 4096 // space for both copies of the header; records begin after it
	headerCopyOffset  = 2048
	headerUsed        = 64
	recordHeaderBytes = 16
	segmentVersion    = 1
	magic             = "WSJSEG\x00\x00"

	sealedBit   = 1 << 63
	recordShift = 32
	recordMask  = 1<<31 - 1
	offsetMask  = 1<<32 - 1
)

// Segment is one file of the journal.
//
// state contains, in one word, everything that a reservation changes: sealed (1 bit) | records (31) | offset (32). The word is on the
// heap, not in the mapping, because an appender may have loaded the segment long ago: an appender touches the mapping only after its
// compare-and-swap of state has succeeded. From then on, the segment is not unmapped or recycled until done has caught up. firstSeq,
// generation and seed change only while the segment is not in use.
type Segment struct {
	state atomic.Uint64
	_     [56]byte      // keeps state and done in different cache lines
	done  atomic.Uint64 // completed reservations (low 32 bits) and the number of responses among them (high 32 bits)
	_     [56]byte
	bad   atomic.Bool // the mapping faulted; never used again

	number     int
	epoch      uuid.UUID
	generation uint64
	firstSeq   uint64
	seed       uint32
	clean      bool   // no record of an earlier use is left; changed only while the segment is not in use
	data       []byte // the mapping; nil after unmap
}

// recordBytes returns the size of a record with n bytes of payload.
func recordBytes(n int) uint64 {
	return (uint64(n) + recordHeaderBytes + 7) &^ 7
}

func createSegment(o Options, number int) (*Segment, error) {
	name := segmentPath(o.Dir, number)
	f, err := o.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create journal segment: %w", err)
	}
	data, err := MapFile(f, o.SegmentBytes)
	closeErr := f.Close()
	if err == nil && closeErr != nil {
		_ = Unmap(data)
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(name)
		return nil, fmt.Errorf("create journal segment %s: %w", name, err)
	}
	s := &Segment{number: number, epoch: o.Epoch, data: data, clean: true}
	s.state.Store(sealedBit)
	return s, nil
}

// begin starts a new use of the segment. It reports false if the mapping faults.
func (s *Segment) begin(generation, firstSeq uint64) (ok bool) {
	s.generation, s.firstSeq = generation, firstSeq
	s.seed = seedOf(s.epoch, generation)
	header := encodeHeader(s.epoch, generation, firstSeq, len(s.data))
	err := memfault.Catch(func() {
		copy(s.data, header[:])
		copy(s.data[headerCopyOffset:], header[:])
	})
	if err != nil {
		return false
	}
	s.done.Store(0)
	s.state.Store(headerBytes)
	return true
}

func encodeHeader(epoch uuid.UUID, generation, firstSeq uint64, size int) (h [headerUsed]byte) {
	copy(h[:], magic)
	binary.LittleEndian.PutUint32(h[8:], segmentVersion)
	binary.LittleEndian.PutUint32(h[12:], uint32(size))
	copy(h[16:32], epoch[:])
	binary.LittleEndian.PutUint64(h[32:], generation)
	binary.LittleEndian.PutUint64(h[40:], firstSeq)
	binary.LittleEndian.PutUint32(h[60:], crc32c.Sum(h[:60]))
	return h
}

func seedOf(epoch uuid.UUID, generation uint64) uint32 {
	var b [24]byte
	copy(b[:], epoch[:])
	binary.LittleEndian.PutUint64(b[16:], generation)
	return crc32c.Sum(b[:])
}

// checksum returns the CRC32C of a record's seq and payload, started from a state that differs for each offset. An odd factor maps different
// offsets to different states, and from different states, the same input gives different checksums.
func checksum(seed uint32, offset uint64, body []byte) uint32 {
	return crc32c.Update(seed^uint32(offset)*0x9E3779B1, body)
}

// reserve reserves the given number of bytes and the next record index. It reports false if the segment is sealed or has no room.
func (s *Segment) reserve(need uint64) (offset, index uint64, ok bool) {
	for {
		v := s.state.Load()
		offset = v & offsetMask
		if v&sealedBit != 0 || offset+need > uint64(len(s.data)) {
			return 0, 0, false
		}
		if s.state.CompareAndSwap(v, v+need+1<<recordShift) {
			return offset, v >> recordShift & recordMask, true
		}
	}
}

// publish completes a record whose n bytes of payload are already in place.
func (s *Segment) publish(offset, seq uint64, n int) {
	binary.LittleEndian.PutUint64(s.data[offset+8:], seq)
	body := s.data[offset+8 : offset+recordHeaderBytes+uint64(n)]
	word := uint64(checksum(s.seed, offset, body))<<32 | uint64(n)
	if bigEndian {
		word = binary.LittleEndian.Uint64(binary.NativeEndian.AppendUint64(nil, word))
	}
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&s.data[offset])), word)
}

var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// seal prevents further reservations. It returns the number of reserved records, and whether this call sealed the segment.
func (s *Segment) seal() (records uint64, sealedNow bool) {
	v := s.state.Or(sealedBit)
	return v >> recordShift & recordMask, v&sealedBit == 0
}

func (s *Segment) isSealed() bool   { return s.state.Load()&sealedBit != 0 }
func (s *Segment) reserved() uint64 { return s.state.Load() >> recordShift & recordMask }
func (s *Segment) offset() uint64   { return s.state.Load() & offsetMask }

// Published returns the number of completed reservations, and the number of responses among them.
func (s *Segment) Published() (records, responses uint64) {
	v := s.done.Load()
	return v & (1<<32 - 1), v >> 32
}

// Generation returns the number of the segment's current use. Numbers start at 1 in each epoch and are unique across its segments.
func (s *Segment) Generation() uint64 { return s.generation }

// Faulted reports whether the mapping failed while the segment was in use.
func (s *Segment) Faulted() bool { return s.bad.Load() }

// Wait returns when every reservation in a sealed segment has been completed. It does not take long: an appender only has to copy a few
// kilobytes, and only the scheduler or a page fault can delay it.
func (s *Segment) Wait() {
	for spins := 0; ; spins++ {
		if done, _ := s.Published(); done >= s.reserved() {
			return
		}
		if spins < 100 {
			runtime.Gosched()
			continue
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// Scan calls fn for each record in a sealed segment in ascending order of seq. Call Wait first. The payload points into the mapping. An error
// means that a fault of the mapping ended the scan early.
func (s *Segment) Scan(fn func(seq uint64, payload []byte)) error {
	if err := memfault.Catch(func() { scan(s.data[:s.offset()], s.seed, s.firstSeq, fn) }); err != nil {
		return fmt.Errorf("read journal segment %d: %w", s.number, err)
	}
	return nil
}

func (s *Segment) unmap() {
	if s.data != nil {
		_ = Unmap(s.data)
		s.data = nil
	}
}
