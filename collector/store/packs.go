package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/dgraph-io/badger/v4"
)

// A path's rows of a day lie as far apart as there are paths, so that months of one path are thousands of look-ups. Packs are
// a second copy of the rows of recent days, one value per name and day. They are derived and marked like sums: what is in them
// is right while the mark of the day stands, and a name that has no pack, or a damaged one, is looked up row by row.
const (
	packVersion = 1
	// packNamesMax bounds the names whose packs a query holds in memory at a time; more are looked up row by row.
	packNamesMax = 64
	// packBytesMax bounds a pack. The rows of a larger one are looked up one by one.
	packBytesMax = 256 << 10
	// packRoomMin is what may still be written when a day is packed: several times what a day of a thousand paths takes.
	packRoomMin = 32 << 20
)

// appendPack writes CRC32C of the rest (4), version (1), and for each hour of the day the length of its row (varint) and the
// row without its head; nothing where there is none.
func appendPack(dst []byte, rows *[dayHours][]byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, packVersion)
	for _, row := range rows {
		dst = binary.AppendUvarint(dst, uint64(len(row)))
		dst = append(dst, row...)
	}
	binary.LittleEndian.PutUint32(dst[start:], crc32.Checksum(dst[start+4:], castagnoli))
	return dst
}

// openPack is the rows of a pack, which share its memory.
func openPack(value []byte) (rows [dayHours][]byte, err error) {
	if len(value) < 5 || crc32.Checksum(value[4:], castagnoli) != binary.LittleEndian.Uint32(value) || value[4] != packVersion {
		return rows, fmt.Errorf("%w: pack of %d bytes", ErrDamaged, len(value))
	}
	in := reader{rest: value[5:]}
	for hour := range rows {
		rows[hour] = in.text(packBytesMax)
	}
	if in.bad || len(in.rest) > 0 {
		return rows, fmt.Errorf("%w: pack of %d bytes", ErrDamaged, len(value))
	}
	return rows, nil
}

// packDay gives the packs of a day to put, in the order of their names. It reads the 24 hours beside each other and holds one
// name's rows at a time. A name with a damaged row gets no pack.
func packDay(ctx context.Context, txn *badger.Txn, day int64, put func(name string, pack []byte) error) error {
	var hours [dayHours]*badger.Iterator
	for i := range hours {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		o.Prefix = appendHourKey(nil, prefixRow, day*dayHours+int64(i))
		hours[i] = txn.NewIterator(o)
		defer hours[i].Close()
		hours[i].Rewind()
	}
	var name []byte
	for n := 0; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return ctx.Err() //nolint:wrapcheck // the caller's own
		}
		found := false
		for _, it := range hours {
			if it.Valid() && (!found || bytes.Compare(rowName(it.Item().Key()), name) < 0) {
				name, found = append(name[:0], rowName(it.Item().Key())...), true
			}
		}
		if !found {
			return nil
		}
		if err := packName(&hours, name, put); err != nil {
			return err
		}
	}
}

// packName packs the rows of a name, which are the next ones of their hours, and takes them off the hours.
func packName(hours *[dayHours]*badger.Iterator, name []byte, put func(name string, pack []byte) error) error {
	var rows [dayHours][]byte
	whole, size := true, 0
	for hour, it := range hours {
		if !it.Valid() || !bytes.Equal(rowName(it.Item().Key()), name) {
			continue
		}
		err := it.Item().Value(func(value []byte) error {
			_, body, err := rowBody(value)
			whole = whole && err == nil
			rows[hour] = bytes.Clone(body)
			return nil
		})
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		size += len(rows[hour])
		it.Next()
	}
	if !whole || size > packBytesMax {
		return nil
	}
	return put(string(name), appendPack(nil, &rows))
}

// packs are those of the names of a query on one day.
type packs struct {
	day    int64
	marked bool
	values [][]byte // by name; reused from day to day
	rows   [][dayHours][]byte
	has    []bool
}

// load reads the packs of a day, if they are right.
func (p *packs) load(txn *badger.Txn, day int64, names []namedSpan) (err error) {
	p.day, p.marked = day, false
	if len(names) > packNamesMax {
		return nil
	}
	p.marked, err = get(txn, packTier.markKey(day), func([]byte) error { return nil })
	if err != nil || !p.marked {
		return err
	}
	if p.values == nil {
		p.values, p.rows, p.has = make([][]byte, len(names)), make([][dayHours][]byte, len(names)), make([]bool, len(names))
	}
	var key []byte
	for i := range names {
		key = appendRowKey(key[:0], &names[i].key)
		name := rowName(key)
		p.has[i], err = get(txn, append(appendHourKey(nil, prefixPackRow, day), name...), func(value []byte) error {
			p.values[i] = append(p.values[i][:0], value...)
			return nil
		})
		if err != nil {
			return err
		}
		if p.has[i] {
			p.rows[i], err = openPack(p.values[i])
			p.has[i] = err == nil // else its rows are looked up
		}
	}
	return nil
}

// row is the encoded row of a name, which may be empty; false if it is to be looked up.
func (p *packs) row(name int, hour int64) ([]byte, bool) {
	if !p.marked || !p.has[name] {
		return nil, false
	}
	return p.rows[name][hour-p.day*dayHours], true
}
