package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// BlockEventsMax is the largest number of events in one block.
const BlockEventsMax = 1000

// blockBytesMax is the size of the records, before compression, at which a block ends early: a block that does not
// compress must stay below Badger's value threshold, or it would go to the value log.
const blockBytesMax = 512 << 10

const (
	blockVersion      = 2 // the newest; written where events have request ids
	blockVersionPlain = 1 // written otherwise
	codecPlain        = 0
	codecZstd         = 1

	blockHeadBytes    = 8       // version, codec, two reserved bytes, CRC32C of the rest
	payloadBytesMax   = 8 << 20 // before compression: a thousand of the largest events are 3 MiB
	zstdWindowBytes   = 128 << 10
	blockRecordsLimit = 1 << 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockMeta is what is known of a block without its payload.
type blockMeta struct {
	epoch     uuid.UUID
	runs      []catalogue.Run
	records   int
	responses int
	rawBytes  uint64 // encoded size of the records
	minTime   int64  // µs
	maxTime   int64
	appliedAt int64
}

// append writes: records, responses, raw bytes, applied at, first and last time, epoch (16), runs as (distance of the
// first seq from the last of the run before, length minus 1).
func (m *blockMeta) append(dst []byte) []byte {
	put(&dst, uint64(m.records))   //nolint:gosec // not negative
	put(&dst, uint64(m.responses)) //nolint:gosec // not negative
	put(&dst, m.rawBytes)
	putSigned(&dst, m.appliedAt)
	putSigned(&dst, m.minTime)
	putSigned(&dst, m.maxTime)
	dst = append(dst, m.epoch[:]...)
	put(&dst, uint64(len(m.runs)))
	before := uint64(0)
	for _, run := range m.runs {
		put(&dst, run.First-before)
		put(&dst, run.Last-run.First)
		before = run.Last
	}
	return dst
}

func (m *blockMeta) read(in *reader) bool {
	m.records = in.length(blockRecordsLimit)
	m.responses = in.length(m.records)
	m.rawBytes = in.uvarint()
	m.appliedAt, m.minTime, m.maxTime = in.varint(), in.varint(), in.varint()
	copy(m.epoch[:], in.bytes(len(m.epoch)))
	n := in.length(m.records)
	m.runs = m.runs[:0]
	before, sum := uint64(0), uint64(0)
	for i := range n {
		first := before + in.uvarint()
		last := first + in.uvarint()
		if in.bad || last < first || first < before || (i > 0 && first == before) {
			return false
		}
		sum += last - first + 1
		m.runs = append(m.runs, catalogue.Run{First: first, Last: last})
		before = last
	}
	return !in.bad && sum == uint64(m.records) && m.records > 0 //nolint:gosec // not negative
}

func (m *blockMeta) addSeq(seq uint64) {
	if n := len(m.runs); n > 0 && m.runs[n-1].Last+1 == seq {
		m.runs[n-1].Last = seq
		return
	}
	m.runs = append(m.runs, catalogue.Run{First: seq, Last: seq})
}

// pending is the block as the uploader sees it; the runs are copied.
func (m *blockMeta) pending(id catalogue.BlockID) catalogue.Pending {
	return catalogue.Pending{
		ID: id, Epoch: m.epoch, Runs: append([]catalogue.Run(nil), m.runs...),
		Rows:    uint64(m.responses), //nolint:gosec // not negative
		Lines:   uint64(m.records),   //nolint:gosec // not negative
		Bytes:   m.rawBytes,
		MaxTime: time.UnixMicro(m.maxTime).UTC(), AppliedAt: time.UnixMicro(m.appliedAt).UTC(),
	}
}

// blockEncoder turns the events of one hour into a block. Not safe for concurrent use; the store's writer owns it.
type blockEncoder struct {
	zstd    *zstd.Encoder
	columns *columnWriter
	plain   []byte
	meta    blockMeta
}

func newBlockEncoder() (*blockEncoder, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(zstdWindowBytes), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make block encoder: %w", err)
	}
	return &blockEncoder{zstd: enc, columns: newColumnWriter()}, nil
}

func (e *blockEncoder) begin(epoch uuid.UUID, appliedAt time.Time) {
	e.columns.reset()
	e.meta = blockMeta{epoch: epoch, runs: e.meta.runs[:0], appliedAt: appliedAt.UnixMicro()}
}

func (e *blockEncoder) add(it *Item, batchKey uint32) {
	m := &e.meta
	m.addSeq(it.Seq)
	t := it.Event.TimeMicros
	if m.records == 0 {
		m.minTime, m.maxTime = t, t
	}
	m.minTime, m.maxTime = min(m.minTime, t), max(m.maxTime, t)
	m.records++
	if it.Event.IsResponse() {
		m.responses++
	}
	m.rawBytes += uint64(it.size()) //nolint:gosec // not negative
	e.columns.add(it, batchKey)
}

// finish appends the block to dst.
func (e *blockEncoder) finish(dst []byte) []byte {
	e.plain = e.columns.appendTo(e.plain[:0])
	start := len(dst)
	dst = append(dst, e.columns.version(), codecZstd, 0, 0, 0, 0, 0, 0)
	dst = e.meta.append(dst)
	put(&dst, uint64(len(e.plain)))
	payload := len(dst)
	dst = e.zstd.EncodeAll(e.plain, dst)
	if len(dst)-payload >= len(e.plain) {
		dst = append(dst[:payload], e.plain...)
		dst[start+1] = codecPlain
	}
	binary.LittleEndian.PutUint32(dst[start+4:], crc32.Checksum(dst[start+blockHeadBytes:], castagnoli))
	return dst
}

// blockDecoder reads blocks. Not safe for concurrent use.
type blockDecoder struct {
	zstd    *zstd.Decoder
	columns columnReader
	plain   []byte
	meta    blockMeta
}

func newBlockDecoder() (*blockDecoder, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(payloadBytesMax))
	if err != nil {
		return nil, fmt.Errorf("make block decoder: %w", err)
	}
	return &blockDecoder{zstd: dec}, nil
}

func (d *blockDecoder) close() { d.zstd.Close() }

// zstdAll decompresses bytes that are not a block.
func (d *blockDecoder) zstdAll(src []byte) ([]byte, error) {
	return d.zstd.DecodeAll(src, nil) //nolint:wrapcheck // the caller says what it is
}

// open checks a block and makes its events ready to be walked. The error wraps [ErrDamaged] or [ErrSchema].
func (d *blockDecoder) open(id catalogue.BlockID, value []byte) error {
	damaged := func(what string) error {
		return fmt.Errorf("%w: block %d/%d/%d: %s", ErrDamaged, id.Hour, id.Batch, id.Index, what)
	}
	if len(value) < blockHeadBytes || value[0] == 0 {
		return damaged("too short")
	}
	if value[0] > blockVersion {
		return fmt.Errorf("%w: block %d/%d/%d has version %d", ErrSchema, id.Hour, id.Batch, id.Index, value[0])
	}
	if crc32.Checksum(value[blockHeadBytes:], castagnoli) != binary.LittleEndian.Uint32(value[4:]) {
		return damaged("checksum")
	}
	in := reader{rest: value[blockHeadBytes:]}
	if !d.meta.read(&in) {
		return damaged("header")
	}
	size := in.length(payloadBytesMax)
	if in.bad {
		return damaged("size")
	}
	plain, err := d.payload(value[1], in.rest, size)
	if err != nil || len(plain) != size {
		return damaged("payload")
	}
	if !d.columns.open(value[0], plain) {
		return damaged("columns")
	}
	return nil
}

func (d *blockDecoder) payload(codec byte, src []byte, size int) ([]byte, error) {
	switch codec {
	case codecPlain:
		d.plain = append(d.plain[:0], src...)
	case codecZstd:
		if cap(d.plain) < size {
			d.plain = make([]byte, 0, size)
		}
		out, err := d.zstd.DecodeAll(src, d.plain[:0:size])
		if err != nil {
			return nil, err //nolint:wrapcheck // the caller names the block
		}
		d.plain = out[:len(out):cap(out)]
	default:
		return nil, errKey
	}
	return d.plain, nil
}

// each walks the block opened last. The event and the key's strings are valid during the call only.
func (d *blockDecoder) each(id catalogue.BlockID, fn func(seq uint64, key uint32, e *event.Event) error) error {
	for _, run := range d.meta.runs {
		for seq := run.First; ; seq++ {
			e, key, ok := d.columns.next()
			if !ok {
				return fmt.Errorf("%w: block %d/%d/%d: event %d", ErrDamaged, id.Hour, id.Batch, id.Index, seq)
			}
			if err := fn(seq, key, e); err != nil {
				return err
			}
			if seq == run.Last {
				break
			}
		}
	}
	if !d.columns.drained() {
		return fmt.Errorf("%w: block %d/%d/%d: more columns than events", ErrDamaged, id.Hour, id.Batch, id.Index)
	}
	return nil
}
