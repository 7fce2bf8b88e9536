package store

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// watermark records which events of an epoch the store has applied. Events with sequence numbers of at least from were applied from the
// spool, except those in holes; if from is 0, none were. A refill may count events of the archive that are before from or in holes.
//
// A hole is a part of an epoch that a store lost when it returned to an earlier state, for instance because the end of Badger's log was
// damaged. The events in a hole were applied and acknowledged, so the spool does not offer them again.
type watermark struct {
	seq, applied, quarantined, from uint64
	holes                           []catalogue.Run // in ascending order; the last hole may be open; the slice is never changed in place
}

// holesMax limits the number of holes in an epoch. If there are more, the oldest is forgotten, and the events lost in it stay quarantined.
const holesMax = 8

// openEnd is the end of an open hole: one after which no event has been applied yet.
const openEnd = math.MaxUint64

// open reports whether the end of the last hole is not known yet.
func (w *watermark) open() bool { return len(w.holes) > 0 && w.holes[len(w.holes)-1].Last == openEnd }

// lost opens a hole that begins after the watermark.
func (w *watermark) lost() {
	if w.from == 0 || w.open() {
		return
	}
	w.holes = append(slices.Clone(w.holes[max(0, len(w.holes)+1-holesMax):]), catalogue.Run{First: w.seq + 1, Last: openEnd})
}

// took records the first event of a batch that is being applied.
func (w *watermark) took(seq uint64) {
	if w.from == 0 {
		w.from = seq
	}
	if !w.open() {
		return
	}
	w.holes = slices.Clone(w.holes)
	last := len(w.holes) - 1
	if w.holes[last].Last = seq - 1; w.holes[last].First >= seq {
		w.holes = w.holes[:last] // nothing was lost in this hole
	}
}

// taken returns the runs of events that were applied from the spool.
func (w *watermark) taken() (runs []catalogue.Run) {
	if w.from == 0 {
		return nil
	}
	first := w.from
	for _, h := range w.holes {
		if h.First > first {
			runs = append(runs, catalogue.Run{First: first, Last: h.First - 1})
		}
		if first = h.Last; first == openEnd {
			return runs
		}
		first++
	}
	return append(runs, catalogue.Run{First: first, Last: math.MaxUint64})
}

// The value consists of four little-endian uint64 numbers, followed by two for each hole. Until schema 4, it had only the first three.
func (w watermark) write(txn *badger.Txn, epoch uuid.UUID) error {
	var value []byte
	for _, v := range [...]uint64{w.seq, w.applied, w.quarantined, w.from} {
		value = binary.LittleEndian.AppendUint64(value, v)
	}
	for _, h := range w.holes {
		value = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(value, h.First), h.Last)
	}
	return set(txn, epochKey(prefixWatermark, epoch), value)
}

func decodeWatermark(v []byte) (w watermark, err error) {
	if len(v) != 24 && (len(v) < 32 || len(v)%16 != 0) {
		return w, fmt.Errorf("%w: watermark of %d bytes", ErrDamaged, len(v))
	}
	w = watermark{
		seq: binary.LittleEndian.Uint64(v), applied: binary.LittleEndian.Uint64(v[8:]), quarantined: binary.LittleEndian.Uint64(v[16:]), from: 1,
	}
	if len(v) == 24 {
		return w, nil
	}
	w.from = binary.LittleEndian.Uint64(v[24:])
	for v = v[32:]; len(v) > 0; v = v[16:] {
		w.holes = append(w.holes, catalogue.Run{First: binary.LittleEndian.Uint64(v), Last: binary.LittleEndian.Uint64(v[8:])})
	}
	return w, nil
}
