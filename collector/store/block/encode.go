package block

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crc32c"
)

// Encoder turns the events of one hour into a block: Begin, Add for each event, Append. It is not safe for concurrent
// use.
type Encoder struct {
	Header  Header // header of the current block
	zstd    *zstd.Encoder
	columns *columnWriter
	plain   []byte
}

// NewEncoder returns an encoder, which the caller must close.
func NewEncoder() *Encoder {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(zstdWindowBytes), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // the options are constants
	}
	return &Encoder{zstd: enc, columns: newColumnWriter()}
}

// Close releases the encoder's memory.
func (e *Encoder) Close() { _ = e.zstd.Close() }

// Compress appends src to dst in compressed form. It is meant for values that are not blocks.
func (e *Encoder) Compress(dst, src []byte) []byte { return e.zstd.EncodeAll(src, dst) }

// Begin starts a new block.
func (e *Encoder) Begin(epoch uuid.UUID, appliedAt time.Time) {
	e.columns.reset()
	e.Header = Header{Epoch: epoch, Runs: e.Header.Runs[:0], AppliedAt: appliedAt.UnixMicro()}
}

// Full reports whether the block should end before another event is added.
func (e *Encoder) Full() bool {
	return e.Header.Records == EventsMax || e.Header.RawBytes >= rawBytesMax
}

// Add adds an event. key is the number of its row key: equal keys have equal numbers. The number itself is not stored.
func (e *Encoder) Add(it *Item, key uint32) {
	h := &e.Header
	h.Runs = catalogue.AppendRuns(h.Runs, catalogue.Run{First: it.Seq, Last: it.Seq})
	t := it.Event.TimeMicros
	if h.Records == 0 {
		h.MinTime, h.MaxTime = t, t
	}
	h.MinTime, h.MaxTime = min(h.MinTime, t), max(h.MaxTime, t)
	h.Records++
	if it.Event.IsResponse() {
		h.Responses++
	}
	h.RawBytes += uint64(it.size())
	e.columns.add(it, key)
}

// Append ends the block and appends it to dst.
func (e *Encoder) Append(dst []byte) []byte {
	e.plain = e.columns.appendTo(e.plain[:0])
	start := len(dst)
	dst = append(dst, e.columns.version(), codecZstd, 0, 0, 0, 0, 0, 0)
	dst = e.Header.Append(dst)
	put(&dst, uint64(len(e.plain)))
	payload := len(dst)
	dst = e.zstd.EncodeAll(e.plain, dst)
	if len(dst)-payload >= len(e.plain) {
		dst = append(dst[:payload], e.plain...)
		dst[start+1] = codecPlain
	}
	binary.LittleEndian.PutUint32(dst[start+4:], crc32c.Sum(dst[start+headBytes:]))
	return dst
}
