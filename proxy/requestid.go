package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// appendUUIDv7 appends a new UUIDv7 in text form. Its 74 random bits come from the runtime's per-thread ChaCha8 generator, which the operating system
// seeds. That takes no lock and no system call.
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
