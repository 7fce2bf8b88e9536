package event

import (
	"encoding/binary"

	"github.com/google/uuid"
)

// ID derives the event's UUIDv7 (RFC 9562 section 5.7) from its time and identity. It is the same after any replay, so it
// is never stored. The 12 bits of rand_a hold the microseconds below the millisecond (section 6.2, method 3). The 62 bits
// of rand_b are seq, counted from a number that the epoch chooses (section 6.2, method 2): within an epoch two events can
// never share an ID, and those of two epochs collide only where both their times and their counters do. Counting, where
// a permutation would do as well, saves 8 bytes an event in the archive, because neighbours differ in few digits. Times
// before 1970 count as 1970.
func ID(timeMicros int64, epoch uuid.UUID, seq uint64) uuid.UUID {
	t := uint64(max(timeMicros, 0))
	millis, micros := t/1000, t%1000

	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], millis<<16|0x7000|micros)
	binary.BigEndian.PutUint64(id[8:], 0b10<<62|(seq+idOffset(epoch))&idMask)
	return id
}

// SeqOf is the inverse of [ID]: the sequence number that an event of the epoch must have to carry the id. Any id gives a
// number; whether such an event exists, and has the id's time, is for the caller to find out.
func SeqOf(id, epoch uuid.UUID) uint64 {
	return (binary.BigEndian.Uint64(id[8:]) - idOffset(epoch)) & idMask
}

const idMask = 1<<62 - 1 // rand_b

// idOffset is where an epoch's counter begins.
func idOffset(epoch uuid.UUID) uint64 {
	const odd = 0x9e3779b97f4a7c15 // the golden ratio, as in SplitMix64
	return mix(binary.BigEndian.Uint64(epoch[:8])) ^ mix(binary.BigEndian.Uint64(epoch[8:])+odd)
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
