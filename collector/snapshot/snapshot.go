// Package snapshot makes snapshots of the hot paths, and encodes them for the process that serves them.
//
// A snapshot is immutable: it consists of a version, JSON, and the same JSON compressed with gzip. Serving a snapshot only copies memory,
// whatever the store is doing. [Builder] makes snapshots from rows of statistics. The collector publishes each of them under [Topic] to
// the traffic process, which decodes it into its own [History] and continues to serve it while the books process is unavailable. This
// package must not import the store, because the traffic process imports this package.
//
// The HTTP API (collector/api) shows the same [Figures] over the same [Coverage]. The columns of a snapshot are in figures.go, the
// Builder is in builder.go, and the wire format is in this file.
//
// # Wire format (topic "snapshot"), little endian
//
//	magic "WSN1" (4) · version (8) · generated at, Unix µs (8) · ETag length (2) · JSON length (4) · gzip length (4)
//	· ETag · JSON · gzip · CRC32C of everything before it (4)
package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/wayside-proxy/wayside/internal/crc32c"
)

// Topic is the name under which snapshots are published.
const Topic = "snapshot"

// EncodedBytesMax is the size of the largest encoded snapshot that Decode accepts.
const EncodedBytesMax = 16 << 20

// ErrMalformed is returned by [Decode] for bytes that [Snapshot.Encode] did not write.
var ErrMalformed = errors.New("malformed snapshot")

// Snapshot is one finished version. Its slices must not be changed.
type Snapshot struct {
	Version     uint64    // increasing, with gaps, even across restarts of the books process
	GeneratedAt time.Time // with microsecond precision
	ETag        string    // including the quotes
	JSON        []byte
	Gzip        []byte // JSON, compressed
}

const (
	magic       = "WSN1"
	headerBytes = 4 + 8 + 8 + 2 + 4 + 4
	crcBytes    = 4
)

// Encode returns the snapshot in the wire format.
func (s *Snapshot) Encode() []byte {
	b := make([]byte, 0, headerBytes+len(s.ETag)+len(s.JSON)+len(s.Gzip)+crcBytes)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, s.Version)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.GeneratedAt.UnixMicro()))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s.ETag))) // cannot overflow: a few dozen bytes
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.JSON))) // cannot overflow: a few dozen KiB
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.Gzip)))
	b = append(b, s.ETag...)
	b = append(b, s.JSON...)
	b = append(b, s.Gzip...)
	return binary.LittleEndian.AppendUint32(b, crc32c.Sum(b))
}

// Decode reads the wire format. The snapshot has a copy of the data, so the caller may reuse body. The error wraps ErrMalformed.
func Decode(body []byte) (*Snapshot, error) {
	if len(body) >= len(magic) && string(body[:3]) == magic[:3] && body[3] > magic[3] {
		return nil, fmt.Errorf("%w: it was made by a newer version of wayside (format %s, this one reads %s)", ErrMalformed, body[:4], magic)
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
	if crc32c.Sum(signed) != binary.LittleEndian.Uint32(body[len(signed):]) {
		return nil, fmt.Errorf("%w: wrong checksum", ErrMalformed)
	}
	rest := append([]byte(nil), signed[headerBytes:]...)
	return &Snapshot{
		Version:     binary.LittleEndian.Uint64(body[4:]),
		GeneratedAt: time.UnixMicro(int64(binary.LittleEndian.Uint64(body[12:]))).UTC(),
		ETag:        string(rest[:etagLen]),
		JSON:        rest[etagLen : etagLen+jsonLen : etagLen+jsonLen],
		Gzip:        rest[etagLen+jsonLen:],
	}, nil
}
