// Package varint reads the fields of binary records: numbers of variable length, and texts preceded by their length.
package varint

import (
	"encoding/binary"
	"math/bits"
)

// Reader reads fields from the front of Rest. After the first field that cannot be read, Bad is true and Rest is empty, so a caller has
// to check Bad only once, after the last field.
type Reader struct {
	Rest []byte
	Bad  bool
}

// Uvarint reads an unsigned varint. It accepts only the shortest encoding, so each value has exactly one valid encoding.
func (r *Reader) Uvarint() uint64 {
	if len(r.Rest) > 0 && r.Rest[0] < 0x80 { // true for most numbers
		v := uint64(r.Rest[0])
		r.Rest = r.Rest[1:]
		return v
	}
	return r.long()
}

func (r *Reader) long() uint64 {
	v, n := binary.Uvarint(r.Rest)
	if n <= 0 || n != Size(v) {
		r.Fail()
		return 0
	}
	r.Rest = r.Rest[n:]
	return v
}

// Varint reads a signed number, as written by [binary.AppendVarint].
func (r *Reader) Varint() int64 {
	v := r.Uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// Length reads the number of elements or bytes that follow, which may be at most limit.
func (r *Reader) Length(limit int) int {
	v := r.Uvarint()
	if v > uint64(limit) {
		r.Fail()
		return 0
	}
	return int(v)
}

// Text reads a length of at most limit, and then that many bytes. The result points into the record.
func (r *Reader) Text(limit int) []byte { return r.Bytes(r.Length(limit)) }

// Bytes reads n bytes. The result points into the record.
func (r *Reader) Bytes(n int) []byte {
	if n > len(r.Rest) {
		r.Fail()
		return nil
	}
	out := r.Rest[:n:n]
	r.Rest = r.Rest[n:]
	return out
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if b := r.Bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// Fail marks the record as invalid.
func (r *Reader) Fail() { r.Bad, r.Rest = true, nil }

// Done reports whether all fields have been read successfully and nothing follows them.
func (r *Reader) Done() bool { return !r.Bad && len(r.Rest) == 0 }

// Size returns the number of bytes of an unsigned varint.
func Size(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// AppendText appends a text preceded by its length.
func AppendText[T string | []byte](dst []byte, text T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}
