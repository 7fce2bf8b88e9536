// Package snapshot carries finished snapshots from the collector to whoever serves them.
//
// A snapshot is immutable: a version, its JSON, and the same JSON gzipped in advance, so that serving it is a copy from
// memory whatever the store is doing. The collector publishes each one under [Topic] to the traffic process, which decodes
// it into a [History] of its own and goes on serving it while the collector is away. The package depends on nothing of the
// store, so that the traffic process does not link it in for this.
//
// # Wire format (topic "snapshot"), little endian
//
//	magic "WSN1" (4) · version (8) · generated at, Unix µs (8) · ETag length (2) · JSON length (4) · gzip length (4)
//	· ETag · JSON · gzip · CRC32C of all before it (4)
package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"time"
)

// Topic is the name under which snapshots are published.
const Topic = "snapshot"

// KeepDefault is the number of versions a History keeps.
const KeepDefault = 5

// EncodedBytesMax is the largest encoded snapshot that Decode accepts.
const EncodedBytesMax = 16 << 20

// ErrMalformed is returned by Decode for bytes that Encode did not write.
var ErrMalformed = errors.New("malformed snapshot")

// Snapshot is one finished version. Its slices are never written to after it was made.
type Snapshot struct {
	Version     uint64    // ascending, with gaps, also across restarts of the collector
	GeneratedAt time.Time // to the microsecond
	ETag        string    // with its quotes
	JSON        []byte
	Gzip        []byte // JSON, gzipped
}

const (
	magic       = "WSN1"
	headerBytes = 4 + 8 + 8 + 2 + 4 + 4
	crcBytes    = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the wire form.
func (s *Snapshot) Encode() []byte {
	b := make([]byte, 0, headerBytes+len(s.ETag)+len(s.JSON)+len(s.Gzip)+crcBytes)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, s.Version)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.GeneratedAt.UnixMicro())) //nolint:gosec // undone by Decode
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s.ETag)))               //nolint:gosec // a few dozen bytes
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.JSON)))               //nolint:gosec // a few dozen KiB
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.Gzip)))               //nolint:gosec // smaller still
	b = append(b, s.ETag...)
	b = append(b, s.JSON...)
	b = append(b, s.Gzip...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Decode reads the wire form. The snapshot keeps a copy: body may be reused. The error wraps ErrMalformed.
func Decode(body []byte) (*Snapshot, error) {
	if len(body) >= len(magic) && string(body[:3]) == magic[:3] && body[3] > magic[3] {
		return nil, fmt.Errorf("%w: a newer wayside made it (%s, this one reads %s)", ErrMalformed, body[:4], magic)
	}
	if len(body) < headerBytes+crcBytes || len(body) > EncodedBytesMax || string(body[:4]) != magic {
		return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(body))
	}
	etagLen := uint64(binary.LittleEndian.Uint16(body[20:]))
	jsonLen := uint64(binary.LittleEndian.Uint32(body[22:]))
	gzipLen := uint64(binary.LittleEndian.Uint32(body[26:]))
	if headerBytes+etagLen+jsonLen+gzipLen+crcBytes != uint64(len(body)) {
		return nil, fmt.Errorf("%w: lengths do not add up to %d bytes", ErrMalformed, len(body))
	}
	signed := body[:len(body)-crcBytes]
	if crc32.Checksum(signed, castagnoli) != binary.LittleEndian.Uint32(body[len(signed):]) {
		return nil, fmt.Errorf("%w: checksum", ErrMalformed)
	}
	rest := append([]byte(nil), signed[headerBytes:]...)
	return &Snapshot{
		Version:     binary.LittleEndian.Uint64(body[4:]),
		GeneratedAt: time.UnixMicro(int64(binary.LittleEndian.Uint64(body[12:]))).UTC(), //nolint:gosec // undoes Encode
		ETag:        string(rest[:etagLen]),
		JSON:        rest[etagLen : etagLen+jsonLen : etagLen+jsonLen],
		Gzip:        rest[etagLen+jsonLen:],
	}, nil
}

// History holds the last few versions. Its methods may be called from any goroutine.
type History struct {
	mu      sync.RWMutex
	keep    int
	list    []*Snapshot   // oldest first; guarded by mu
	changed chan struct{} // closed with the next Add; nil while nobody waits; guarded by mu
}

// NewHistory keeps the last keep versions; 0 means KeepDefault.
func NewHistory(keep int) *History {
	if keep <= 0 {
		keep = KeepDefault
	}
	return &History{keep: keep}
}

// Add appends a version and drops the oldest beyond the limit. A version that is there already is ignored: versions are
// immutable.
func (h *History) Add(s *Snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, have := range h.list {
		if have.Version == s.Version {
			return
		}
	}
	if len(h.list) >= h.keep {
		h.list = append(h.list[:0:0], h.list[len(h.list)-h.keep+1:]...)
	}
	h.list = append(h.list, s)
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// Latest is the version added last, nil if there is none.
func (h *History) Latest() *Snapshot {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if len(h.list) == 0 {
		return nil
	}
	return h.list[len(h.list)-1]
}

// Get returns a version, nil if it is not kept.
func (h *History) Get(version uint64) *Snapshot {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, s := range h.list {
		if s.Version == version {
			return s
		}
	}
	return nil
}

// List returns the versions kept, newest first.
func (h *History) List() []*Snapshot {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := make([]*Snapshot, 0, len(h.list))
	for i := len(h.list) - 1; i >= 0; i-- {
		out = append(out, h.list[i])
	}
	return out
}
