package event

import (
	"encoding/binary"

	"github.com/google/uuid"
)

// ID derives the event's UUIDv7 (RFC 9562 section 5.7) from its time and identity. It is the same after any replay, so it
// is never stored. The 12 bits of rand_a hold the microseconds below the millisecond (section 6.2, method 3). The 62 bits
// of rand_b are a permutation of seq chosen by the epoch: within an epoch two events can never share an ID, and across
// epochs they do so by chance in 2^62. Times before 1970 count as 1970.
func ID(timeMicros int64, epoch uuid.UUID, seq uint64) uuid.UUID {
	t := uint64(max(timeMicros, 0)) //nolint:gosec // not negative
	millis, micros := t/1000, t%1000

	const odd = 0x9e3779b97f4a7c15 // multiplication by an odd number permutes the integers modulo 2^62
	offset := mix(binary.BigEndian.Uint64(epoch[:8])) ^ mix(binary.BigEndian.Uint64(epoch[8:])+odd)
	random := (seq*odd + offset) & (1<<62 - 1)

	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], millis<<16|0x7000|micros)
	binary.BigEndian.PutUint64(id[8:], 0b10<<62|random)
	return id
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
