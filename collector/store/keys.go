package store

import (
	"encoding/binary"
	"errors"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// The first byte of every key. These values are part of the format: only append to them. The package comment describes
// the rest of each key.
const (
	prefixUnreconciled = 'a'
	prefixBlock        = 'b'
	prefixPlan         = 'c'
	prefixCapacity     = 'g'
	prefixJob          = 'j'
	prefixDay          = 'd'
	prefixDayRow       = 'e'
	prefixLong         = 'f'
	prefixLongRow      = 'g'
	prefixQuarter      = 'h'
	prefixQuarterRow   = 'q'
	prefixPack         = 'o' // used until schema 3; removed when such a store is opened
	prefixPackRow      = 'v' // used until schema 3, like prefixPack
	prefixName         = 'i'
	prefixCheckpoint   = 'k'
	prefixLedger       = 'l'
	prefixLog          = 'L'
	prefixMinute       = 'y'
	prefixMinutesKept  = 'Y'
	prefixMark         = 'M'
	prefixRun          = 'R'
	prefixCounters     = 'm'
	prefixBatch        = 'n'
	prefixPath         = 'p'
	prefixRow          = 'r'
	prefixSchema       = 's'
	prefixDrops        = 't'
	prefixPending      = 'u'
	prefixWatermark    = 'w'
	prefixRefill       = 'x'
	prefixPadding      = 'z'
)

const blockKeyBytes = 1 + 8 + 8 + 2

var errKey = errors.New("malformed key")

// orderedHour maps hours to numbers whose big-endian bytes sort in the order of the hours, even for hours before 1970.
func orderedHour(hour int64) uint64 { return uint64(hour) ^ 1<<63 }

func decodeHour(ordered uint64) int64 { return int64(ordered ^ 1<<63) }

// keyHour returns the hour, or the number of a longer span, in a key of at least nine bytes.
func keyHour(key []byte) int64 { return decodeHour(binary.BigEndian.Uint64(key[1:])) }

func appendHourKey(dst []byte, prefix byte, hour int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, prefix), orderedHour(hour))
}

// blockKey returns the key of a block, or of the header of a pending block: prefix, hour (8), batch (8), index (2), big
// endian.
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
		Hour:  keyHour(key),
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

// routed is added to the length of the method in a key with a route. A method is always shorter than this.
const routed = block.KeyTextBytesMax

// appendRowKey writes prefix, hour (8), length and bytes of host, length and bytes of method, label. If the row has a route, [routed] is
// added to the length of the method, and the length and bytes of the route follow the method. So rows without a route have the same keys
// as in versions without routes.
func appendRowKey(dst []byte, k *stats.Key) []byte {
	dst = appendHourKey(dst, prefixRow, k.Hour)
	dst = varint.AppendText(dst, k.Host)
	if k.Route == "" {
		dst = varint.AppendText(dst, k.Method)
	} else {
		dst = binary.AppendUvarint(dst, uint64(routed+len(k.Method)))
		dst = varint.AppendText(append(dst, k.Method...), k.Route)
	}
	return append(dst, k.Label...)
}

func parseRowKey(key []byte) (stats.Key, error) {
	if len(key) < 1+8 {
		return stats.Key{}, errKey
	}
	in := varint.Reader{Rest: key[9:]}
	k := stats.Key{Hour: keyHour(key), Host: string(in.Text(block.KeyTextBytesMax))}
	method := in.Length(2 * routed)
	if method < routed {
		k.Method = string(in.Bytes(method))
	} else {
		k.Method = string(in.Bytes(method - routed))
		k.Route = string(in.Text(block.KeyTextBytesMax))
		in.Bad = in.Bad || k.Route == "" // a key without a route has the other form
	}
	if in.Bad {
		return stats.Key{}, errKey
	}
	k.Label = string(in.Rest)
	return k, nil
}

// planKey returns the key of a plan: prefix, the state's position in planStates (1), the plan's ID (8).
func planKey(state catalogue.State, id uint64) ([]byte, error) {
	for i, known := range planStates {
		if known == state {
			return binary.BigEndian.AppendUint64([]byte{prefixPlan, byte(i)}, id), nil
		}
	}
	return nil, errKey
}

// planStates lists the states in the order of their keys, last state first. It is part of the format.
var planStates = [...]catalogue.State{catalogue.Deleted, catalogue.Verified, catalogue.Planned}
