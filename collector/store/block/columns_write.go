package block

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// columnWriter collects the events of one block. Its buffers are reused from block to block.
type columnWriter struct {
	col     [columns][]byte
	words   dictionary
	clients dictionary
	shapes  map[shape]uint32
	keyOf   map[uint32]uint32 // number of a row key in the batch → its number in this block
	time    int64             // time of the previous event
	ids     bool              // whether an event has a request ID
	times   bool              // whether an event has a request time or a wait
	edge    bool              // whether an event or a row key has a field that only version 4 has
}

func newColumnWriter() *columnWriter {
	return &columnWriter{
		words:   newDictionary(colWords, wordFields),
		clients: newDictionary(colClients, 1),
		shapes:  map[shape]uint32{},
		keyOf:   map[uint32]uint32{},
	}
}

func (w *columnWriter) reset() {
	for i := range w.col {
		w.col[i] = w.col[i][:0]
	}
	w.words.reset()
	w.clients.reset()
	clear(w.shapes)
	clear(w.keyOf)
	w.time, w.ids, w.times, w.edge = 0, false, false, false
}

// add appends one event. batchKey, the number of its row key within the batch, is used only to recognize equal keys.
func (w *columnWriter) add(it *Item, batchKey uint32) {
	e, c := &it.Event, &w.col
	put(&c[colShape], uint64(w.shape(it, batchKey)))
	c[colTime] = binary.AppendVarint(c[colTime], e.TimeMicros-w.time)
	w.time = e.TimeMicros
	put(&c[colDuration], e.DurationMicros)
	c[colTTFB] = binary.AppendVarint(c[colTTFB], int64(e.DurationMicros-e.TTFBMicros))
	put(&c[colBytesIn], e.RequestBytes)
	put(&c[colBytesOut], e.ResponseBytes)
	put(&c[colClient], uint64(w.clients.number(c, 0, view(e.Client), true)))
	w.path(e.Path, it.Label)
	w.trace(e.TraceID)
	w.requestID(e.RequestID)
	put(&c[colRequest], e.RequestMicros)
	put(&c[colWait], e.WaitMicros)
	w.times = w.times || e.RequestMicros|e.WaitMicros != 0
}

func (w *columnWriter) shape(it *Item, batchKey uint32) uint32 {
	e, c := &it.Event, &w.col
	s := shape{
		kind:     e.Kind,
		status:   e.Status,
		method:   w.words.number(c, fieldMethod, view(e.Method), true),
		host:     w.words.number(c, fieldHost, view(e.Host), true),
		upstream: w.words.number(c, fieldUpstream, view(e.Upstream), true),
		protocol: w.words.number(c, fieldProtocol, view(e.Protocol), true),
		errors:   w.words.number(c, fieldErrors, view(e.ErrorType), true),
		route:    w.route(fieldRoute, view(e.Route), true),
		edge:     e.Edge(),
		key:      w.key(it, batchKey),
	}
	id, known := w.shapes[s]
	if known {
		return id
	}
	id = uint32(len(w.shapes))
	w.shapes[s] = id
	c[colShapes] = append(c[colShapes], byte(s.kind))
	for _, v := range [...]uint32{uint32(s.status), s.method, s.host, s.upstream, s.protocol, s.errors, s.key} {
		put(&c[colShapes], uint64(v))
	}
	put(&c[colEdge], uint64(s.route))
	c[colEdge] = append(c[colEdge], s.edge[:]...)
	w.edge = w.edge || s.route != 0 || s.edge != event.Edge{}
	return id
}

// route returns the number of a route in the dictionary plus 1, or 0 for no route. So blocks without routes need no word for "none".
func (w *columnWriter) route(field int, name string, borrowed bool) wordID {
	if name == "" {
		return 0
	}
	return w.words.number(&w.col, field, name, borrowed) + 1
}

func (w *columnWriter) key(it *Item, batchKey uint32) uint32 {
	id, known := w.keyOf[batchKey]
	if known {
		return id
	}
	id = uint32(len(w.keyOf))
	w.keyOf[batchKey] = id
	c := &w.col
	put(&c[colKeys], uint64(w.words.number(c, fieldKeyHost, it.Host, false)))
	put(&c[colKeys], uint64(w.words.number(c, fieldKeyMethod, it.Method, false)))
	put(&c[colKeys], uint64(w.words.number(c, fieldKeyLabel, it.Label, false)))
	route := w.route(fieldKeyRoute, it.Route, false)
	put(&c[colKeyRoute], uint64(route))
	w.edge = w.edge || route != 0
	return id
}

func (w *columnWriter) path(path []byte, label string) {
	c := &w.col
	before := len(c[colPathText])
	text, fits := appendPlaceholders(c[colPathText], path, label)
	if fits {
		c[colPathText] = text
		put(&c[colPathForm], 0)
		return
	}
	c[colPathText] = append(text[:before], path...)
	put(&c[colPathForm], uint64(len(path))+1)
}

func (w *columnWriter) trace(id []byte) {
	var raw [idBytes]byte
	short := len(id) == 2*idBytes && isLowerHex(id)
	if short {
		_, _ = hex.Decode(raw[:], id)
	}
	putID(&w.col[colTrace], id, raw, short)
}

func (w *columnWriter) requestID(id []byte) {
	var raw uuid.UUID
	short := false
	if len(id) == uuidTextBytes {
		u, err := uuid.ParseBytes(id)
		raw, short = u, err == nil && u.String() == string(id)
	}
	w.ids = w.ids || len(id) > 0
	putID(&w.col[colRequestID], id, raw, short)
}

// putID appends an ID. If short is set, raw is the short form of the ID and is appended instead.
func putID(dst *[]byte, id []byte, raw [idBytes]byte, short bool) {
	switch {
	case len(id) == 0:
		put(dst, 0)
	case short:
		put(dst, 1)
		*dst = append(*dst, raw[:]...)
	default:
		put(dst, uint64(len(id))+2)
		*dst = append(*dst, id...)
	}
}

// version returns the oldest version that has all columns that the block needs.
func (w *columnWriter) version() byte {
	switch {
	case w.edge:
		return version
	case w.times:
		return versionWithTimes
	case w.ids:
		return versionWithID
	}
	return versionPlain
}

// appendTo writes the columns of the block's version.
func (w *columnWriter) appendTo(dst []byte) []byte {
	for i := range columnsOf(w.version()) {
		dst = varint.AppendText(dst, w.col[i])
	}
	return dst
}

func isLowerHex(text []byte) bool {
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
