package store

import (
	"encoding/hex"
	"unsafe"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// columnReader walks the events of one block. What it hands out points into the payload, or into its own scratch memory,
// and is valid until the next event.
type columnReader struct {
	col     [columns]reader
	words   [][]byte
	clients [][]byte
	keys    []rowKey
	shapes  []shape
	have    int // columns of the block's version
	time    int64
	scratch []byte // path and trace of the present event
	event   event.Event
}

// open reads the dictionaries. It reports false for a payload that is not one.
func (r *columnReader) open(version byte, payload []byte) bool {
	in := reader{rest: payload}
	r.have = columnsOf(version)
	clear(r.col[:])
	for i := range r.have {
		r.col[i] = reader{rest: in.text(len(payload))}
	}
	if in.bad || len(in.rest) != 0 {
		return false
	}
	r.time = 0
	r.words = readWords(r.words[:0], &r.col[colWords])
	r.clients = readWords(r.clients[:0], &r.col[colClients])
	r.readKeys()
	r.readShapes()
	return !r.col[colWords].bad && !r.col[colClients].bad && !r.col[colKeys].bad && !r.col[colShapes].bad
}

func readWords(words [][]byte, in *reader) [][]byte {
	for len(in.rest) > 0 {
		words = append(words, in.text(keyTextBytesMax))
	}
	return words
}

func (r *columnReader) word(in *reader) (wordID, []byte) {
	id := in.uvarint()
	if id >= uint64(len(r.words)) {
		in.bad, in.rest = true, nil
		return 0, nil
	}
	return wordID(id), r.words[id] //nolint:gosec // bounded by len
}

func (r *columnReader) readKeys() {
	in := &r.col[colKeys]
	r.keys = r.keys[:0]
	for len(in.rest) > 0 {
		_, host := r.word(in)
		_, method := r.word(in)
		_, label := r.word(in)
		r.keys = append(r.keys, rowKey{Host: view(host), Method: view(method), Label: view(label)})
	}
}

func (r *columnReader) readShapes() {
	in := &r.col[colShapes]
	r.shapes = r.shapes[:0]
	for len(in.rest) > 0 {
		s := shape{kind: event.Kind(in.byte()), status: uint16(in.length(1<<16 - 1))} //nolint:gosec // bounded
		s.method, _ = r.word(in)
		s.host, _ = r.word(in)
		s.upstream, _ = r.word(in)
		s.protocol, _ = r.word(in)
		s.errors, _ = r.word(in)
		key := in.uvarint()
		if key >= uint64(len(r.keys)) || s.kind < event.KindRequest || s.kind > event.KindDrop {
			in.bad, in.rest = true, nil
			return
		}
		s.key = uint32(key) //nolint:gosec // bounded by len
		r.shapes = append(r.shapes, s)
	}
}

// next reads one event and the number of its key. It reports false where the columns do not hold one.
func (r *columnReader) next() (e *event.Event, key uint32, ok bool) {
	c := &r.col
	id := c[colShape].uvarint()
	client := c[colClient].uvarint()
	if id >= uint64(len(r.shapes)) || client >= uint64(len(r.clients)) {
		return nil, 0, false
	}
	s := &r.shapes[id]
	r.time += c[colTime].varint()
	duration := c[colDuration].uvarint()
	e = &r.event
	*e = event.Event{
		TimeMicros: r.time, Kind: s.kind, Status: s.status,
		DurationMicros: duration,
		TTFBMicros:     duration - uint64(c[colTTFB].varint()), //nolint:gosec // wraps back
		RequestBytes:   c[colBytesIn].uvarint(), ResponseBytes: c[colBytesOut].uvarint(),
		Method: r.words[s.method], Host: r.words[s.host], Upstream: r.words[s.upstream], Protocol: r.words[s.protocol],
		ErrorType: r.words[s.errors], Client: r.clients[client],
	}
	r.scratch = r.scratch[:0]
	if form := c[colPathForm].uvarint(); form == 0 {
		r.scratch = appendPath(r.scratch, r.keys[s.key].Label, &c[colPathText])
		e.Path = r.scratch[:len(r.scratch):len(r.scratch)]
	} else {
		e.Path = c[colPathText].bytes(int(min(form-1, event.PathBytesMax))) //nolint:gosec // bounded
	}
	e.TraceID = r.trace()
	if r.have > colRequestID {
		e.RequestID = r.requestID()
	}
	return e, s.key, !r.bad()
}

func (r *columnReader) trace() []byte {
	in := &r.col[colTrace]
	switch form := in.uvarint(); form {
	case 0:
		return nil
	case 1:
		before := len(r.scratch)
		r.scratch = hex.AppendEncode(r.scratch, in.bytes(traceBytes))
		return r.scratch[before:]
	default:
		return in.bytes(int(min(form-2, event.TraceIDBytesMax))) //nolint:gosec // bounded
	}
}

func (r *columnReader) requestID() []byte {
	in := &r.col[colRequestID]
	switch form := in.uvarint(); form {
	case 0:
		return nil
	case 1:
		id, err := uuid.FromBytes(in.bytes(traceBytes))
		if err != nil {
			in.bad = true
			return nil
		}
		before := len(r.scratch)
		r.scratch = append(r.scratch, id.String()...)
		return r.scratch[before:]
	default:
		return in.bytes(int(min(form-2, event.RequestIDBytesMax))) //nolint:gosec // bounded
	}
}

func (r *columnReader) bad() bool {
	for i := colShape; i < columns; i++ {
		if r.col[i].bad {
			return true
		}
	}
	return false
}

// drained reports whether the columns hold nothing beyond the events read.
func (r *columnReader) drained() bool {
	for i := range r.col {
		if r.col[i].bad || len(r.col[i].rest) != 0 {
			return false
		}
	}
	return true
}

// view is the text without a copy, valid as long as the bytes are.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
