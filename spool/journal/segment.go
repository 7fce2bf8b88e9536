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
	headerBytes       = 4096 // room of both header copies; records begin here
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
// state packs what a reservation changes in one compare-and-swap: sealed (1 bit) | records (31) | offset (32). It lives on
// the heap, so that an appender that was asleep since it loaded the segment touches the mapping only once its
// compare-and-swap says that the segment is in use; it then waits for nobody, and nobody unmaps or recycles the segment
// before done has caught up. firstSeq, generation and seed are written while the segment is out of use.
type Segment struct {
	state atomic.Uint64
	_     [56]byte      // reservations and completions do not share a cache line
	done  atomic.Uint64 // reservations that are over (low 32 bits) and responses among them (high 32)
	_     [56]byte
	bad   atomic.Bool // the mapping faulted; never used again

	number     int
	epoch      uuid.UUID
	generation uint64
	firstSeq   uint64
	seed       uint32
	clean      bool   // behind the header nothing of an earlier use is left; changed while the segment is out of use
	data       []byte // the mapping; nil after unmap
}

// recordBytes is the room that a record with n bytes of payload takes.
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

// begin takes the segment into use. It reports false when the mapping faults.
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

// checksum is the CRC32C of a record's seq and payload, started from a state that differs for each offset: the odd factor
// makes the map from offsets to states one to one, and CRC32C keeps states of equal input apart.
func checksum(seed uint32, offset uint64, body []byte) uint32 {
	return crc32c.Update(seed^uint32(offset)*0x9E3779B1, body)
}

// reserve takes need bytes and the next index, or reports false if the segment is sealed or has no room.
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

// publish completes a record of n payload bytes that already stand in their place.
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

// seal closes reservations and reports the records reserved, and whether this call did it.
func (s *Segment) seal() (records uint64, sealedNow bool) {
	v := s.state.Or(sealedBit)
	return v >> recordShift & recordMask, v&sealedBit == 0
}

func (s *Segment) isSealed() bool   { return s.state.Load()&sealedBit != 0 }
func (s *Segment) reserved() uint64 { return s.state.Load() >> recordShift & recordMask }
func (s *Segment) offset() uint64   { return s.state.Load() & offsetMask }

// Published returns the completed reservations, and the responses among them.
func (s *Segment) Published() (records, responses uint64) {
	v := s.done.Load()
	return v & (1<<32 - 1), v >> 32
}

// Generation is the number of this use of the segment, ascending within the epoch from 1.
func (s *Segment) Generation() uint64 { return s.generation }

// Faulted reports whether the mapping failed while the segment was in use.
func (s *Segment) Faulted() bool { return s.bad.Load() }

// Wait returns once every reservation of a sealed segment is over. An appender owes a copy of at most a few kilobytes; it
// can be late only by the scheduler or a page fault.
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

// Scan calls fn for each record of a sealed segment in ascending order of seq, after Wait. The payload points into the
// mapping. It returns how many records it found, and the fault that ended the scan early, if any.
func (s *Segment) Scan(fn func(seq uint64, payload []byte)) (n int, err error) {
	err = memfault.Catch(func() {
		scan(s.data[:s.offset()], s.seed, s.firstSeq, func(seq uint64, payload []byte) {
			fn(seq, payload)
			n++
		})
	})
	if err != nil {
		return n, fmt.Errorf("read journal segment %d: %w", s.number, err)
	}
	return n, nil
}

func (s *Segment) unmap() {
	if s.data != nil {
		_ = Unmap(s.data)
		s.data = nil
	}
}
