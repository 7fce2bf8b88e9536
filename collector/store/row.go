package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/crc32c"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// A stored row consists of the CRC32C of the rest (4), the number of the last batch that it includes (8), and the
// statistics.

const (
	checksumBytes = 4
	rowHeadBytes  = checksumBytes + 8
)

// seal writes the checksum of value into its first four bytes.
func seal(value []byte) {
	binary.LittleEndian.PutUint32(value, crc32c.Sum(value[checksumBytes:]))
}

// sealed reports whether the checksum in a value's first four bytes is correct.
func sealed(value []byte) bool {
	return len(value) >= checksumBytes && crc32c.Sum(value[checksumBytes:]) == binary.LittleEndian.Uint32(value)
}

// appendRow appends a stored row.
func appendRow(dst []byte, includes uint64, row *stats.Row) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, includes)
	dst, _ = row.AppendBinary(dst) // its error is always nil
	seal(dst[start:])
	return dst
}

// rowBody checks a stored row and returns the last batch that it includes, and the encoded statistics.
func rowBody(value []byte) (includes uint64, body []byte, err error) {
	if len(value) < rowHeadBytes || !sealed(value) {
		return 0, nil, fmt.Errorf("%w: row of %d bytes", ErrDamaged, len(value))
	}
	return binary.LittleEndian.Uint64(value[checksumBytes:]), value[rowHeadBytes:], nil
}

// decodeRow reads a stored row into row, and returns the last batch that it includes. The error wraps ErrDamaged or ErrSchema.
func decodeRow(value []byte, row *stats.Row) (includes uint64, err error) {
	includes, body, err := rowBody(value)
	if err != nil {
		return 0, err
	}
	return includes, wrapDecode(row.Decode(body))
}

// wrapDecode wraps an error from a decoder of package stats in the corresponding error of this package.
func wrapDecode(err error) error {
	switch {
	case errors.Is(err, stats.ErrVersion):
		return fmt.Errorf("%w: %w", ErrSchema, err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// readRow reads the row with a database key into row, if there is one.
func readRow(txn *badger.Txn, key []byte, row *stats.Row) (includes uint64, err error) {
	_, err = get(txn, key, func(value []byte) (err error) {
		includes, err = decodeRow(value, row)
		return err
	})
	return includes, err
}
