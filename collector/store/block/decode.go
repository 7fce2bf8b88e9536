package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/wayside-proxy/wayside/collector/store/storeerr"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crc32c"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// Decoder reads blocks: Open, then Each. It is not safe for concurrent use.
type Decoder struct {
	Header  Header // header of the most recently opened block
	id      catalogue.BlockID
	zstd    *zstd.Decoder
	columns columnReader
	plain   []byte
}

// decoders holds closed decoders, whose memory can be reused: a decoder that has read blocks of the usual size occupies about half a
// megabyte.
var decoders = sync.Pool{New: func() any {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(payloadBytesMax))
	if err != nil {
		panic(err) // the options are constants
	}
	return &Decoder{zstd: dec}
}}

// NewDecoder returns a decoder, which the caller must close.
func NewDecoder() *Decoder {
	return decoders.Get().(*Decoder) //nolint:forcetypeassert // the pool has no other values
}

// Close makes the decoder's memory available to other decoders. Afterwards, nothing that the decoder has returned is valid, except the
// results of Decompress.
func (d *Decoder) Close() { decoders.Put(d) }

// Decompress reverses [Encoder.Compress].
func (d *Decoder) Decompress(src []byte) ([]byte, error) {
	return d.zstd.DecodeAll(src, nil)
}

// Open checks a block and prepares its events for Each. The error wraps storeerr.ErrDamaged or storeerr.ErrSchema.
func (d *Decoder) Open(id catalogue.BlockID, value []byte) error {
	d.id = id
	damaged := func(what string) error {
		return fmt.Errorf("%w: block %s: %s", storeerr.ErrDamaged, Name(id), what)
	}
	if len(value) < headBytes || value[0] == 0 {
		return damaged("too short")
	}
	if value[0] > version {
		return fmt.Errorf("%w: block %s has version %d", storeerr.ErrSchema, Name(id), value[0])
	}
	if crc32c.Sum(value[headBytes:]) != binary.LittleEndian.Uint32(value[4:]) {
		return damaged("checksum")
	}
	in := varint.Reader{Rest: value[headBytes:]}
	if !d.Header.read(&in) {
		return damaged("header")
	}
	size := in.Length(payloadBytesMax)
	if in.Bad {
		return damaged("size")
	}
	plain, err := d.payload(value[1], in.Rest, size)
	if err != nil || len(plain) != size {
		return damaged("payload")
	}
	if !d.columns.open(value[0], plain) {
		return damaged("columns")
	}
	return nil
}

func (d *Decoder) payload(codec byte, src []byte, size int) ([]byte, error) {
	switch codec {
	case codecPlain:
		d.plain = append(d.plain[:0], src...)
	case codecZstd:
		if cap(d.plain) < size {
			d.plain = make([]byte, 0, size)
		}
		out, err := d.zstd.DecodeAll(src, d.plain[:0:size])
		if err != nil {
			return nil, err
		}
		d.plain = out[:len(out):cap(out)]
	default:
		return nil, errors.New("unknown codec")
	}
	return d.plain, nil
}

// Keys returns the names of the rows in which the block's events are counted. [Decoder.Each] refers to these names by index. The strings
// are valid until the next Open.
func (d *Decoder) Keys() []catalogue.RowName { return d.columns.keys }

// Each calls fn with the events of the most recently opened block, in the order of their sequence numbers, together
// with the index of each event's key. The event is only valid during the call.
func (d *Decoder) Each(fn func(seq uint64, key uint32, e *event.Event) error) error {
	for _, run := range d.Header.Runs {
		for seq := run.First; ; seq++ {
			e, key, ok := d.columns.next()
			if !ok {
				return fmt.Errorf("%w: block %s: event %d", storeerr.ErrDamaged, Name(d.id), seq)
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
		return fmt.Errorf("%w: block %s: more columns than events", storeerr.ErrDamaged, Name(d.id))
	}
	return nil
}

// Rewrite begins a new block in e, with the epoch and the apply time of the block that is open in d, and adds that block's events to it.
// change may modify an event, or return false to drop the event. If any events are left, the caller must end the new block with Append.
func Rewrite(e *Encoder, d *Decoder, change func(*Item) bool) error {
	e.Begin(d.Header.Epoch, time.UnixMicro(d.Header.AppliedAt))
	numbers := map[catalogue.RowName]uint32{}
	return d.Each(func(seq uint64, key uint32, ev *event.Event) error {
		k := d.columns.keys[key]
		it := Item{Seq: seq, Host: k.Host, Method: k.Method, Label: k.Label, Route: k.Route, Event: *ev}
		if !change(&it) {
			return nil
		}
		name := catalogue.RowName{Host: it.Host, Method: it.Method, Label: it.Label, Route: it.Route}
		number, known := numbers[name]
		if !known { // the strings belong to the decoder, but the encoder and the map retain them
			name = name.Clone()
			it.Host, it.Method, it.Label, it.Route = name.Host, name.Method, name.Label, name.Route
			number = uint32(len(numbers))
			numbers[name] = number
		}
		e.Add(&it, number)
		return nil
	})
}
