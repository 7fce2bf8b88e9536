package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// requestIDBytesMax limits the length of an X-Request-ID that a client may set.
const requestIDBytesMax = 128

// validRequestID accepts 1 to 128 bytes of letters, digits and . _ ~ + / = : -
func validRequestID(b []byte) bool {
	if len(b) == 0 || len(b) > requestIDBytesMax {
		return false
	}
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == '~', c == '+', c == '/', c == '=', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}

// appendUUIDv7 appends a new UUIDv7 in text form. Its 74 random bits come from the runtime's per-thread ChaCha8 generator, which is
// seeded by the operating system. This takes no lock and no system call.
func appendUUIDv7(dst []byte, now time.Time) []byte {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixMilli())<<16|uint64(rand.Uint32()&0xfff)|0x7000)
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()&^(3<<62)|2<<62)
	var text [36]byte
	hex.Encode(text[0:8], id[0:4])
	text[8] = '-'
	hex.Encode(text[9:13], id[4:6])
	text[13] = '-'
	hex.Encode(text[14:18], id[6:8])
	text[18] = '-'
	hex.Encode(text[19:23], id[8:10])
	text[23] = '-'
	hex.Encode(text[24:36], id[10:16])
	return append(dst, text[:]...)
}
