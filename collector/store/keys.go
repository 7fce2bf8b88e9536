package store

import (
	"encoding/binary"
	"errors"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// First byte of every key. Part of the format: append only. The package comment draws the rest.
const (
	prefixDoubt      = 'a'
	prefixBlock      = 'b'
	prefixPlan       = 'c'
	prefixCapacity   = 'g'
	prefixJob        = 'j'
	prefixDay        = 'd'
	prefixDayRow     = 'e'
	prefixLong       = 'f'
	prefixLongRow    = 'g'
	prefixPart       = 'h'
	prefixPartRow    = 'q'
	prefixPack       = 'o' // until schema 3: removed when such a store is opened
	prefixPackRow    = 'v' // likewise
	prefixName       = 'i'
	prefixCheckpoint = 'k'
	prefixLedger     = 'l'
	prefixState      = 'm'
	prefixBatch      = 'n'
	prefixPath       = 'p'
	prefixRow        = 'r'
	prefixSchema     = 's'
	prefixDrops      = 't'
	prefixUnplanned  = 'u'
	prefixWatermark  = 'w'
	prefixRefill     = 'x'
	prefixPadding    = 'z'
)

const blockKeyBytes = 1 + 8 + 8 + 2

// keyTextBytesMax bounds host, method and label of a row together; Badger's own bound is 65,000.
const keyTextBytesMax = 16 << 10

var errKey = errors.New("malformed key")

// orderedHour maps hours so that their bytes sort like the numbers, those before 1970 included.
func orderedHour(hour int64) uint64 { return uint64(hour) ^ 1<<63 } //nolint:gosec // two's complement on purpose

func decodeHour(ordered uint64) int64 { return int64(ordered ^ 1<<63) } //nolint:gosec // undoes orderedHour

func appendHourKey(dst []byte, prefix byte, hour int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, prefix), orderedHour(hour))
}

// blockKey is prefix, hour (8), batch (8), index (2), big endian, for a block or its unplanned mark.
func blockKey(prefix byte, id catalogue.BlockID) []byte {
	dst := appendHourKey(make([]byte, 0, blockKeyBytes), prefix, id.Hour)
	dst = binary.BigEndian.AppendUint64(dst, id.Batch)
	return binary.BigEndian.AppendUint16(dst, id.Index)
}

func parseBlockKey(key []byte) (catalogue.BlockID, error) {
	if len(key) != blockKeyBytes {
		return catalogue.BlockID{}, errKey
	}
	return catalogue.BlockID{
		Hour:  decodeHour(binary.BigEndian.Uint64(key[1:])),
		Batch: binary.BigEndian.Uint64(key[9:]),
		Index: binary.BigEndian.Uint16(key[17:]),
	}, nil
}

func numberKey(prefix byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, n)
}

func epochKey(prefix byte, epoch uuid.UUID) []byte {
	return append([]byte{prefix}, epoch[:]...)
}

// appendRowKey writes prefix, hour (8), length and bytes of host, length and bytes of method, label.
func appendRowKey(dst []byte, k *stats.Key) []byte {
	dst = appendHourKey(dst, prefixRow, k.Hour)
	dst = binary.AppendUvarint(dst, uint64(len(k.Host)))
	dst = append(dst, k.Host...)
	dst = binary.AppendUvarint(dst, uint64(len(k.Method)))
	dst = append(dst, k.Method...)
	return append(dst, k.Label...)
}

func parseRowKey(key []byte) (stats.Key, error) {
	if len(key) < 1+8 {
		return stats.Key{}, errKey
	}
	in := reader{rest: key[9:]}
	k := stats.Key{
		Hour:   decodeHour(binary.BigEndian.Uint64(key[1:])),
		Host:   string(in.text(keyTextBytesMax)),
		Method: string(in.text(keyTextBytesMax)),
	}
	if in.bad {
		return stats.Key{}, errKey
	}
	k.Label = string(in.rest)
	return k, nil
}

// planKey is prefix, the state's place in the order of states (1), the plan's number (8).
func planKey(state catalogue.State, id uint64) ([]byte, error) {
	for i, known := range planStates {
		if known == state {
			return binary.BigEndian.AppendUint64([]byte{prefixPlan, byte(i)}, id), nil
		}
	}
	return nil, errKey
}

// planStates in the order of their keys: the furthest first. Part of the format.
var planStates = [...]catalogue.State{catalogue.Deleted, catalogue.Verified, catalogue.Planned}

// reader takes fields off the front of rest; after the first misfit it stays bad.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) uvarint() uint64 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 {
		v := uint64(r.rest[0])
		r.rest = r.rest[1:]
		return v
	}
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1) //nolint:gosec // zigzag
}

// length reads a number of elements or bytes that follow.
func (r *reader) length(limit int) int {
	v := r.uvarint()
	if v > uint64(limit) { //nolint:gosec // limits are small
		r.bad, r.rest = true, nil
		return 0
	}
	return int(v) //nolint:gosec // bounded by limit
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) text(limit int) []byte { return r.bytes(r.length(limit)) }

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	v := r.rest[0]
	r.rest = r.rest[1:]
	return v
}
