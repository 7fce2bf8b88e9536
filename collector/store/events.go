package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// ErrNoEvent means that the store has no event with that ID: there never was such an event, or retention has deleted it.
var ErrNoEvent = errors.New("no such event is held locally")

// EventPosition is an event's place in the store, ordered by hour and then by the order of applying. Positions never
// change, so they can serve as cursors while events are added and deleted.
type EventPosition struct {
	Hour  int64
	Batch uint64
	Index uint16 // index of the block in its batch
	Place uint16 // index of the event in its block
}

func (p EventPosition) compare(o EventPosition) int {
	a, b := p.bytes(), o.bytes()
	return bytes.Compare(a[:], b[:])
}

// EventPositionBytes is the length of an encoded position.
const EventPositionBytes = 8 + 8 + 2 + 2

func (p EventPosition) bytes() (out [EventPositionBytes]byte) {
	binary.BigEndian.PutUint64(out[:], orderedHour(p.Hour))
	binary.BigEndian.PutUint64(out[8:], p.Batch)
	binary.BigEndian.PutUint16(out[16:], p.Index)
	binary.BigEndian.PutUint16(out[18:], p.Place)
	return out
}

// Encode returns the position as bytes that sort in the same order as positions.
func (p EventPosition) Encode() []byte {
	out := p.bytes()
	return out[:]
}

// DecodeEventPosition reverses Encode. It returns false if b has the wrong length.
func DecodeEventPosition(b []byte) (EventPosition, bool) {
	if len(b) != EventPositionBytes {
		return EventPosition{}, false
	}
	return EventPosition{
		Hour: decodeHour(binary.BigEndian.Uint64(b)), Batch: binary.BigEndian.Uint64(b[8:]),
		Index: binary.BigEndian.Uint16(b[16:]), Place: binary.BigEndian.Uint16(b[18:]),
	}, true
}

// StoredEvent is an event with its position. Drop records have no row, so their names are empty.
type StoredEvent struct {
	Position                   EventPosition
	Epoch                      uuid.UUID
	Seq                        uint64
	Host, Method, Label, Route string // the row under which it was counted
	Event                      event.Event
}

// EventScan determines which events a scan visits, and in which order.
type EventScan struct {
	FromMicros, ToMicros int64          // time of recording in µs, [from, to)
	After                *EventPosition // continue after this event, in the direction of the scan; nil: from the beginning
	Descending           bool           // newest hour first; within an hour, the latest applied event first
	EventsMax            int            // stop when the blocks read so far have this many events; 0: 200,000

	// Keep selects events; nil selects all. The event is only valid during the call. The calls may come in any order.
	Keep func(*StoredEvent) bool

	holds func(*block.Header) bool // whether a block may hold a selected event; may be nil
}

const scanEventsMax = 200_000

// EventLog reads events as they were recorded.
type EventLog struct{ *database }

// ScanEvents calls fn with the selected events until fn returns false. It keeps one block in memory at a time. fn may retain the event.
// ScanEvents returns the position at which it stopped, for EventScan.After, and whether it has seen everything. It skips and logs a
// damaged block, so the other blocks can still be read.
func (s *EventLog) ScanEvents(ctx context.Context, q EventScan, fn func(*StoredEvent) bool) (EventPosition, bool, error) {
	if err := s.enter(); err != nil {
		return EventPosition{}, false, err
	}
	defer s.leave()
	decoder := block.NewDecoder()
	defer decoder.Close()
	if q.EventsMax <= 0 {
		q.EventsMax = scanEventsMax
	}
	w := eventWalk{s: s, q: q, d: decoder, fn: fn}
	if q.After != nil {
		w.last = *q.After
	}
	err := s.view(func(txn *badger.Txn) error { return w.walk(ctx, txn) })
	if errors.Is(err, errStop) {
		return w.last, false, nil
	}
	return w.last, err == nil, err
}

type eventWalk struct {
	s    *EventLog
	q    EventScan
	d    *block.Decoder
	fn   func(*StoredEvent) bool
	seen int
	last EventPosition
	kept []*StoredEvent // selected events of the current block
}

// walk visits the blocks of the range in the direction of the scan. It returns errStop if it has stopped before the end of the range.
func (w *eventWalk) walk(ctx context.Context, txn *badger.Txn) error {
	first, last := stats.HourOfMicros(w.q.FromMicros), stats.HourOfMicros(w.q.ToMicros-1)
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Prefix = []byte{prefixBlock}
	o.Reverse = w.q.Descending
	it := txn.NewIterator(o)
	defer it.Close()
	for it.Seek(w.start(first, last)); it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, err := parseBlockKey(it.Item().Key())
		if err != nil {
			return fmt.Errorf("%w: key of a block", ErrDamaged)
		}
		if id.Hour < first || id.Hour > last {
			return nil
		}
		if w.passed(id) {
			continue
		}
		if w.seen >= w.q.EventsMax {
			return errStop
		}
		if err := it.Item().Value(func(v []byte) error { return w.block(id, v) }); err != nil {
			return err
		}
	}
	return nil
}

func (w *eventWalk) start(first, last int64) []byte {
	if after := w.q.After; after != nil {
		return blockKey(prefixBlock, catalogue.BlockID{Hour: after.Hour, Batch: after.Batch, Index: after.Index})
	}
	if w.q.Descending {
		return append(appendHourKey(nil, prefixBlock, last), bytes.Repeat([]byte{0xff}, 16)...)
	}
	return appendHourKey(nil, prefixBlock, first)
}

// block calls fn with the selected events of one block, in the direction of the scan.
func (w *eventWalk) block(id catalogue.BlockID, value []byte) error {
	var h block.Header
	damaged := h.DecodeBlock(value) != nil
	if damaged || h.MaxTime < w.q.FromMicros || h.MinTime >= w.q.ToMicros {
		return nil //nolint:nilerr // damage is reported when the plan is archived; a query returns the other events
	}
	if w.q.holds != nil && !w.q.holds(&h) {
		return nil
	}
	w.seen += h.Records
	w.kept = w.kept[:0]
	if err := w.decode(id, value); err != nil {
		w.s.o.Logger.Error("store: a search skipped a damaged block; its events are missing from the result", "error", err)
		return nil
	}
	if w.q.Descending {
		slices.Reverse(w.kept)
	}
	for _, e := range w.kept {
		w.last = e.Position
		if !w.fn(e) {
			return errStop
		}
	}
	w.last = w.end(id)
	return nil
}

// end returns the position after all events of a block, in the direction of the scan.
func (w *eventWalk) end(id catalogue.BlockID) EventPosition {
	at := EventPosition{Hour: id.Hour, Batch: id.Batch, Index: id.Index}
	if !w.q.Descending {
		at.Place = 1<<16 - 1
	}
	return at
}

// passed reports whether an earlier scan has seen the whole block.
func (w *eventWalk) passed(id catalogue.BlockID) bool {
	return w.q.After != nil && *w.q.After == w.end(id)
}

func (w *eventWalk) decode(id catalogue.BlockID, value []byte) error {
	if err := w.d.Open(id, value); err != nil {
		return err
	}
	place := -1
	return w.d.Each(func(seq uint64, key uint32, e *event.Event) error {
		place++
		at := EventPosition{Hour: id.Hour, Batch: id.Batch, Index: id.Index, Place: uint16(place)}
		if w.beyond(at) || e.TimeMicros < w.q.FromMicros || e.TimeMicros >= w.q.ToMicros {
			return nil
		}
		k := w.d.Keys()[key]
		found := StoredEvent{
			Position: at, Epoch: w.d.Header.Epoch, Seq: seq, Host: k.Host, Method: k.Method, Label: k.Label, Route: k.Route, Event: *e,
		}
		if w.q.Keep == nil || w.q.Keep(&found) {
			w.kept = append(w.kept, found.clone())
		}
		return nil
	})
}

// beyond reports whether an earlier scan has seen this position.
func (w *eventWalk) beyond(at EventPosition) bool {
	if w.q.After == nil {
		return false
	}
	if w.q.Descending {
		return at.compare(*w.q.After) >= 0
	}
	return at.compare(*w.q.After) <= 0
}

// clone copies everything that points into the block.
func (e *StoredEvent) clone() *StoredEvent {
	out := *e
	out.Host, out.Method, out.Label, out.Route = strings.Clone(e.Host), strings.Clone(e.Method), strings.Clone(e.Label), strings.Clone(e.Route)
	v := &out.Event
	for _, field := range [...]*[]byte{
		&v.Method, &v.Host, &v.Path, &v.Upstream, &v.Protocol, &v.Client, &v.TraceID, &v.RequestID, &v.ErrorType, &v.Route,
	} {
		*field = bytes.Clone(*field)
	}
	return &out
}

// FindEvent returns the event with that ID. It decodes only blocks that can contain the event: the ID contains the event's time and,
// together with the epoch, determines its sequence number. If there is no such event, the error wraps [ErrNoEvent].
func (s *EventLog) FindEvent(ctx context.Context, id uuid.UUID) (*StoredEvent, error) {
	if id.Version() != 7 {
		return nil, fmt.Errorf("%w: %s", ErrNoEvent, id)
	}
	head := binary.BigEndian.Uint64(id[:8])
	micros := int64(head>>16*1000 + head&0xfff)
	var found *StoredEvent
	_, _, err := s.ScanEvents(ctx, EventScan{
		FromMicros: micros, ToMicros: micros + 1, EventsMax: 1 << 62,
		holds: func(h *block.Header) bool { return catalogue.Contains(h.Runs, event.SeqOf(id, h.Epoch)) },
		Keep: func(e *StoredEvent) bool {
			return e.Seq == event.SeqOf(id, e.Epoch) && event.ID(e.Event.TimeMicros, e.Epoch, e.Seq) == id
		},
	}, func(e *StoredEvent) bool {
		found = e
		return false
	})
	if err != nil {
		return nil, fmt.Errorf("find event %s: %w", id, err)
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoEvent, id)
	}
	return found, nil
}
