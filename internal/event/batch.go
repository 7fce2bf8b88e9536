package event

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/crc32c"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// BatchVersion is the version of the batch format that [BatchBuilder] writes. A newer batch format also requires a newer queue.Version: a
// version of wayside that does not support the format cannot count the records of a batch, so it must not change the folder.
const BatchVersion = 1

// Batch header, little endian: version (1), reserved (3), CRC32C of everything after it (4), epoch (16), first seq (8), last seq (8),
// records (4), responses (4). It is followed by a frame for each record: the difference between the record's seq and the previous
// record's seq as a uvarint (0 for the first record), the length as a uvarint, and the record.
const (
	batchHeaderBytes = 48
	batchCRCOffset   = 4
	batchBodyOffset  = 8
)

// Batch is a run of encoded records of one epoch in ascending order of their sequence numbers (seq). The queue stores batches, Peek
// returns them, and the quarantine keeps them. There are gaps in the numbers if a writer died after it had reserved space for a record.
type Batch struct {
	Epoch             uuid.UUID
	FirstSeq, LastSeq uint64
	Records           uint32 // all records
	Responses         uint32 // records that are not drop records

	raw    []byte
	newest byte // version of the newest record in the batch
}

// CheckVersion returns an error that wraps [ErrVersion] if a parsed batch has a record of a newer version.
func (b Batch) CheckVersion() error {
	if b.newest > Version {
		return fmt.Errorf("%w: record version %d, but this version supports only up to %d", ErrVersion, b.newest, Version)
	}
	return nil
}

// Bytes returns the encoded batch that was passed to ParseBatch.
func (b Batch) Bytes() []byte { return b.raw }

// All yields the sequence number and the encoded form of each record. The encoded form points into the batch.
func (b Batch) All() iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		if len(b.raw) < batchHeaderBytes {
			return
		}
		rest, seq := b.raw[batchHeaderBytes:], b.FirstSeq
		for len(rest) > 0 {
			step, record, after, ok := frame(rest)
			if !ok {
				return // cannot happen: ParseBatch has read every frame
			}
			seq += step
			if !yield(seq, record) {
				return
			}
			rest = after
		}
	}
}

func frame(rest []byte) (step uint64, record, after []byte, ok bool) {
	in := varint.Reader{Rest: rest}
	step, record = in.Uvarint(), in.Text(len(rest))
	return step, record, in.Rest, !in.Bad
}

// ParseBatch checks the header, the checksum and every frame of an encoded batch, and returns a view of it. It does not decode the
// records. The error wraps [ErrMalformed] or [ErrVersion].
func ParseBatch(raw []byte) (Batch, error) {
	if len(raw) < batchHeaderBytes {
		return Batch{}, fmt.Errorf("%w: batch of %d bytes", ErrMalformed, len(raw))
	}
	if raw[0] > BatchVersion {
		return Batch{}, fmt.Errorf("%w: batch version %d, but this version supports only up to %d", ErrVersion, raw[0], BatchVersion)
	}
	if raw[0] == 0 || raw[1]|raw[2]|raw[3] != 0 {
		return Batch{}, fmt.Errorf("%w: batch header", ErrMalformed)
	}
	sum := binary.LittleEndian.Uint32(raw[batchCRCOffset:])
	if crc32c.Sum(raw[batchBodyOffset:]) != sum {
		return Batch{}, fmt.Errorf("%w: batch checksum", ErrMalformed)
	}
	b, _ := BatchHeader(raw)
	err := b.check()
	return b, err
}

// BatchHeader returns the header of an encoded batch without checking the rest or the checksum. It returns false if raw
// is too short.
func BatchHeader(raw []byte) (Batch, bool) {
	if len(raw) < batchHeaderBytes {
		return Batch{}, false
	}
	b := Batch{
		FirstSeq:  binary.LittleEndian.Uint64(raw[24:]),
		LastSeq:   binary.LittleEndian.Uint64(raw[32:]),
		Records:   binary.LittleEndian.Uint32(raw[40:]),
		Responses: binary.LittleEndian.Uint32(raw[44:]),
		raw:       raw,
	}
	copy(b.Epoch[:], raw[8:24])
	return b, true
}

// check reads the frames, determines their newest version, and compares them with the header.
func (b *Batch) check() error {
	rest, seq, records := b.raw[batchHeaderBytes:], b.FirstSeq, uint32(0)
	for len(rest) > 0 {
		step, record, after, ok := frame(rest)
		if !ok || (records == 0) != (step == 0) || seq+step < seq || len(record) < fixedBytes {
			return fmt.Errorf("%w: frame %d of batch", ErrMalformed, records)
		}
		seq += step
		records++
		b.newest = max(b.newest, record[0])
		rest = after
	}
	if records == 0 || records != b.Records || b.Responses > records || seq != b.LastSeq {
		return fmt.Errorf("%w: batch holds %d records up to %d, but its header says %d up to %d",
			ErrMalformed, records, seq, b.Records, b.LastSeq)
	}
	return nil
}

// BatchBuilder assembles a batch. Its buffer is reused after Reset.
type BatchBuilder struct {
	buf               []byte
	epoch             uuid.UUID
	firstSeq, lastSeq uint64
	records           uint32
	responses         uint32
}

// NewBatchBuilder returns an empty builder for records of one epoch.
func NewBatchBuilder(epoch uuid.UUID) *BatchBuilder {
	b := &BatchBuilder{epoch: epoch}
	b.Reset()
	return b
}

// Reset empties the builder. Slices returned by Bytes are overwritten when more records are added.
func (b *BatchBuilder) Reset() {
	b.buf = append(b.buf[:0], make([]byte, batchHeaderBytes)...)
	b.firstSeq, b.lastSeq, b.records, b.responses = 0, 0, 0, 0
}

// Len returns the number of records added since Reset.
func (b *BatchBuilder) Len() int { return int(b.records) }

// Size returns the encoded size in bytes.
func (b *BatchBuilder) Size() int { return len(b.buf) }

// Add appends a copy of an encoded record; response must be true for a response and false for a drop record. If seq is not greater than
// the seq of the previous record, or the record is too short, Add returns an error that wraps [ErrMalformed] and adds nothing.
func (b *BatchBuilder) Add(seq uint64, record []byte, response bool) error {
	if b.records == 0 {
		b.firstSeq, b.lastSeq = seq, seq
	} else if seq <= b.lastSeq {
		return fmt.Errorf("%w: seq %d after %d", ErrMalformed, seq, b.lastSeq)
	}
	if len(record) < fixedBytes {
		return fmt.Errorf("%w: record of %d bytes", ErrMalformed, len(record))
	}
	b.buf = binary.AppendUvarint(b.buf, seq-b.lastSeq)
	b.buf = varint.AppendText(b.buf, record)
	b.lastSeq = seq
	b.records++
	if response {
		b.responses++
	}
	return nil
}

// Bytes completes the header and returns the encoded batch, which is valid until the next Add or Reset. It returns nil
// if nothing was added.
func (b *BatchBuilder) Bytes() []byte {
	if b.records == 0 {
		return nil
	}
	h := b.buf[:batchHeaderBytes]
	h[0] = BatchVersion
	copy(h[8:24], b.epoch[:])
	binary.LittleEndian.PutUint64(h[24:], b.firstSeq)
	binary.LittleEndian.PutUint64(h[32:], b.lastSeq)
	binary.LittleEndian.PutUint32(h[40:], b.records)
	binary.LittleEndian.PutUint32(h[44:], b.responses)
	binary.LittleEndian.PutUint32(h[batchCRCOffset:], crc32c.Sum(b.buf[batchBodyOffset:]))
	return b.buf
}

// IsResponseRecord reports whether an encoded record is a response, without decoding the rest of it.
func IsResponseRecord(record []byte) bool {
	return len(record) > 1 && Kind(record[1]) != KindDrop
}
