package block

import (
	"encoding/hex"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// columnReader walks through the events of one block. The slices of an event point into the payload or into the
// reader's scratch memory, and are valid until the next event.
type columnReader struct {
	col     [columns]varint.Reader
	words   [][]byte
	clients [][]byte
	keys    []catalogue.RowName
	shapes  []shape
	have    int // number of columns in the block's version
	time    int64
	scratch []byte // path and trace of the current event
	event   event.Event
}

// open reads the dictionaries. It returns false if the payload is damaged.
func (r *columnReader) open(version byte, payload []byte) bool {
	in := varint.Reader{Rest: payload}
	r.have = columnsOf(version)
	clear(r.col[:])
	for i := range r.have {
		r.col[i] = varint.Reader{Rest: in.Text(len(payload))}
	}
	if !in.Done() {
		return false
	}
	r.time = 0
	r.words = readWords(r.words[:0], &r.col[colWords])
	r.clients = readWords(r.clients[:0], &r.col[colClients])
	r.readKeys()
	r.readShapes()
	for _, column := range [...]int{colWords, colClients, colKeys, colShapes, colKeyRoute, colEdge} {
		if r.col[column].Bad {
			return false
		}
	}
	return true
}

func readWords(words [][]byte, in *varint.Reader) [][]byte {
	for len(in.Rest) > 0 {
		words = append(words, in.Text(KeyTextBytesMax))
	}
	return words
}

func (r *columnReader) word(in *varint.Reader) (wordID, []byte) {
	id := in.Uvarint()
	if id >= uint64(len(r.words)) {
		in.Fail()
		return 0, nil
	}
	return wordID(id), r.words[id]
}

// route reads a route, stored as the number of its word plus 1; 0 means no route.
func (r *columnReader) route(in *varint.Reader) (wordID, []byte) {
	id := in.Uvarint()
	if id == 0 {
		return 0, nil
	}
	if id > uint64(len(r.words)) || len(r.words[id-1]) == 0 {
		in.Fail()
		return 0, nil
	}
	return wordID(id), r.words[id-1]
}

func (r *columnReader) readKeys() {
	in := &r.col[colKeys]
	r.keys = r.keys[:0]
	for len(in.Rest) > 0 {
		_, host := r.word(in)
		_, method := r.word(in)
		_, label := r.word(in)
		name := catalogue.RowName{Host: view(host), Method: view(method), Label: view(label)}
		if r.have > colKeyRoute {
			_, route := r.route(&r.col[colKeyRoute])
			name.Route = view(route)
		}
		r.keys = append(r.keys, name)
	}
}

func (r *columnReader) readShapes() {
	in := &r.col[colShapes]
	r.shapes = r.shapes[:0]
	for len(in.Rest) > 0 {
		s := shape{kind: event.Kind(in.Byte()), status: uint16(in.Length(1<<16 - 1))}
		s.method, _ = r.word(in)
		s.host, _ = r.word(in)
		s.upstream, _ = r.word(in)
		s.protocol, _ = r.word(in)
		s.errors, _ = r.word(in)
		key := in.Uvarint()
		if key >= uint64(len(r.keys)) || s.kind < event.KindRequest || s.kind > event.KindDrop {
			in.Fail()
			return
		}
		s.key = uint32(key)
		if r.have > colEdge && !r.readEdge(&s) {
			return
		}
		r.shapes = append(r.shapes, s)
	}
}

func (r *columnReader) readEdge(s *shape) bool {
	in := &r.col[colEdge]
	s.route, _ = r.route(in)
	copy(s.edge[:], in.Bytes(len(s.edge)))
	if !s.edge.Valid() {
		in.Fail()
	}
	return !in.Bad
}

// next reads one event and the number of its row key. It returns false if the columns do not contain a valid event.
func (r *columnReader) next() (e *event.Event, key uint32, ok bool) {
	c := &r.col
	id := c[colShape].Uvarint()
	client := c[colClient].Uvarint()
	if id >= uint64(len(r.shapes)) || client >= uint64(len(r.clients)) {
		return nil, 0, false
	}
	s := &r.shapes[id]
	r.time += c[colTime].Varint()
	duration := c[colDuration].Uvarint()
	e = &r.event
	*e = event.Event{
		TimeMicros: r.time, Kind: s.kind, Status: s.status,
		DurationMicros: duration,
		TTFBMicros:     duration - uint64(c[colTTFB].Varint()),
		RequestBytes:   c[colBytesIn].Uvarint(), ResponseBytes: c[colBytesOut].Uvarint(),
		Method: r.words[s.method], Host: r.words[s.host], Upstream: r.words[s.upstream], Protocol: r.words[s.protocol],
		ErrorType: r.words[s.errors], Client: r.clients[client],
	}
	if r.have > colEdge {
		e.SetEdge(s.edge)
		if s.route > 0 {
			e.Route = r.words[s.route-1]
		}
	}
	r.scratch = r.scratch[:0]
	if form := c[colPathForm].Uvarint(); form == 0 {
		r.scratch = appendPath(r.scratch, r.keys[s.key].Label, &c[colPathText])
		e.Path = r.scratch[:len(r.scratch):len(r.scratch)]
	} else {
		e.Path = c[colPathText].Bytes(int(min(form-1, event.PathBytesMax)))
	}
	e.TraceID = r.id(colTrace, event.TraceIDBytesMax, hex.AppendEncode)
	if r.have > colRequestID {
		e.RequestID = r.id(colRequestID, event.RequestIDBytesMax, appendUUID)
	}
	if r.have > colRequest {
		e.RequestMicros, e.WaitMicros = c[colRequest].Uvarint(), c[colWait].Uvarint()
	}
	return e, s.key, !r.bad()
}

// id reads an ID of at most limit bytes. appendText restores the text of an ID that was stored as sixteen bytes.
func (r *columnReader) id(column int, limit uint64, appendText func(dst, raw []byte) []byte) []byte {
	in := &r.col[column]
	switch form := in.Uvarint(); form {
	case 0:
		return nil
	case 1:
		start := len(r.scratch)
		r.scratch = appendText(r.scratch, in.Bytes(idBytes))
		return r.scratch[start:]
	default:
		return in.Bytes(int(min(form-2, limit)))
	}
}

func appendUUID(dst, raw []byte) []byte {
	id, err := uuid.FromBytes(raw)
	if err != nil {
		return dst // the reader has already failed
	}
	return append(dst, id.String()...)
}

func (r *columnReader) bad() bool {
	for i := colShape; i < columns; i++ {
		if r.col[i].Bad {
			return true
		}
	}
	return false
}

// drained reports whether the columns have been read to their ends.
func (r *columnReader) drained() bool {
	for i := range r.col {
		if !r.col[i].Done() {
			return false
		}
	}
	return true
}
