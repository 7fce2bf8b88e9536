package block

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/storeerr"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// Header summarizes a block. As long as the block is in no plan, the store also keeps the header under a separate key.
type Header struct {
	Epoch     uuid.UUID
	Runs      []catalogue.Run // sequence numbers, ascending and disjoint
	Records   int
	Responses int
	RawBytes  uint64 // encoded size of the records
	MinTime   int64  // µs
	MaxTime   int64
	AppliedAt int64
}

// Append appends these fields in order: records, responses, raw bytes, apply time, first and last time, epoch (16), runs. A run is
// written as the distance from the last number of the previous run to its own first number, followed by its length minus 1.
func (h *Header) Append(dst []byte) []byte {
	put(&dst, uint64(h.Records))
	put(&dst, uint64(h.Responses))
	put(&dst, h.RawBytes)
	dst = binary.AppendVarint(dst, h.AppliedAt)
	dst = binary.AppendVarint(dst, h.MinTime)
	dst = binary.AppendVarint(dst, h.MaxTime)
	dst = append(dst, h.Epoch[:]...)
	put(&dst, uint64(len(h.Runs)))
	previous := uint64(0)
	for _, run := range h.Runs {
		put(&dst, run.First-previous)
		put(&dst, run.Last-run.First)
		previous = run.Last
	}
	return dst
}

// Decode reads a header that Append wrote. It reuses the memory of Runs, and returns false if value is not a header.
func (h *Header) Decode(value []byte) bool { return h.read(&varint.Reader{Rest: value}) }

// DecodeBlock reads the header of a block. It does not check the block's checksum.
func (h *Header) DecodeBlock(value []byte) error {
	if len(value) < headBytes || value[0] == 0 || value[0] > version || !h.Decode(value[headBytes:]) {
		return fmt.Errorf("%w: header of a block", storeerr.ErrDamaged)
	}
	return nil
}

func (h *Header) read(in *varint.Reader) bool {
	h.Records = in.Length(recordsLimit)
	h.Responses = in.Length(h.Records)
	h.RawBytes = in.Uvarint()
	h.AppliedAt, h.MinTime, h.MaxTime = in.Varint(), in.Varint(), in.Varint()
	copy(h.Epoch[:], in.Bytes(len(h.Epoch)))
	n := in.Length(h.Records)
	h.Runs = h.Runs[:0]
	previous, sum := uint64(0), uint64(0)
	for i := range n {
		first := previous + in.Uvarint()
		last := first + in.Uvarint()
		if in.Bad || last < first || first < previous || (i > 0 && first == previous) {
			return false
		}
		sum += last - first + 1
		h.Runs = append(h.Runs, catalogue.Run{First: first, Last: last})
		previous = last
	}
	return !in.Bad && sum == uint64(h.Records) && h.Records > 0
}

// Pending describes the block for the uploader. The runs are copied.
func (h *Header) Pending(id catalogue.BlockID) catalogue.Pending {
	return catalogue.Pending{
		ID: id, Epoch: h.Epoch, Runs: append([]catalogue.Run(nil), h.Runs...),
		Rows:    uint64(h.Responses),
		Lines:   uint64(h.Records),
		Bytes:   h.RawBytes,
		MaxTime: time.UnixMicro(h.MaxTime).UTC(), AppliedAt: time.UnixMicro(h.AppliedAt).UTC(),
	}
}
