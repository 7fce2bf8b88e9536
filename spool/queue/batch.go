package queue

import (
	"bytes"
	"encoding/binary"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

const keyBytes = 24

// Batch describes a stored batch, with the same information as its key.
type Batch struct {
	First, Last        uint64 // sequence numbers
	Records, Responses uint32
	Size               int // bytes of the value

	stored []byte // the key as it is in the file, if the key is damaged
}

// Key returns the batch's key in the file. Its layout is part of the format.
func (b *Batch) Key() []byte {
	if b.stored != nil {
		return b.stored
	}
	k := make([]byte, 0, keyBytes)
	k = binary.BigEndian.AppendUint64(k, b.First)
	k = binary.BigEndian.AppendUint64(k, b.Last)
	k = binary.BigEndian.AppendUint32(k, b.Records)
	return binary.BigEndian.AppendUint32(k, b.Responses)
}

func parseKey(k []byte) (b Batch, ok bool) {
	if len(k) != keyBytes {
		return b, false
	}
	b.First, b.Last = binary.BigEndian.Uint64(k), binary.BigEndian.Uint64(k[8:])
	b.Records, b.Responses = binary.BigEndian.Uint32(k[16:]), binary.BigEndian.Uint32(k[20:])
	return b, b.First > 0 && b.First <= b.Last && b.Records > 0 && b.Responses <= b.Records
}

// foundBatch describes a stored batch. The key has no checksum, but it repeats the header of the batch. If the two differ and the checksum of
// the batch is correct, the description is taken from the batch.
func foundBatch(epoch uuid.UUID, key, value []byte) (b Batch, ok bool) {
	b, ok = parseKey(key)
	h, long := event.BatchHeader(value)
	if !ok || !long || b.First != h.FirstSeq || b.Last != h.LastSeq || b.Records != h.Records || b.Responses != h.Responses {
		if whole, err := event.ParseBatch(value); err == nil && whole.Epoch == epoch {
			b = Batch{First: whole.FirstSeq, Last: whole.LastSeq, Records: whole.Records, Responses: whole.Responses, stored: bytes.Clone(key)}
			ok = true
		} // otherwise the batch is damaged, which reading it will reveal
	}
	b.Size = len(value)
	return b, ok
}
