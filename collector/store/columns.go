package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// The columns of a block's payload, each a length and its bytes, in this order. Part of the format.
//
// Fields that take few values are not stored one by one: what an event has in common with others is its shape, an entry of
// a dictionary, and the event names it by number. Times are stored as differences. A path that fits its label is stored as
// what stands in the label's placeholders.
const (
	colWords     = iota // dictionary of strings: (length, bytes)
	colClients          // dictionary of client addresses: (length, bytes)
	colKeys             // dictionary of row keys: words of host, method, label
	colShapes           // dictionary of shapes: kind (1), status, words of method, host, upstream, protocol, error; key
	colShape            // per event: its shape
	colTime             // per event: zigzag difference to the event before, µs
	colDuration         // per event: µs
	colTTFB             // per event: zigzag duration minus time to the first byte, µs
	colBytesIn          // per event
	colBytesOut         // per event
	colClient           // per event: its client
	colPathForm         // per event: 0 where the path fits the label, else its length plus 1
	colPathText         // the paths that do not fit, and the placeholders' lengths (1 to 2) and bytes of those that do
	colTrace            // per event: 0 none, 1 sixteen bytes of lower-case hex, else length plus 2; and the bytes
	colRequestID        // per event, in blocks of version 2: 0 none, 1 a UUID as sixteen bytes, else length plus 2; and the bytes
	columns
)

const (
	traceBytes    = 16
	uuidTextBytes = 36
)

func columnsOf(version byte) int {
	if version == blockVersionPlain {
		return colRequestID
	}
	return columns
}

type wordID = uint32

// shape is what events of a block have in common.
type shape struct {
	kind                                     event.Kind
	status                                   uint16
	method, host, upstream, protocol, errors wordID
	key                                      uint32
}

// rowKey is a row's key without its hour.
type rowKey = catalogue.RowName

// dictionary numbers strings in the order of their first appearance and writes them to a column.
type dictionary struct {
	column int
	index  map[string]wordID
	words  []string
	last   []wordID // per field, the word it held last plus 1: most fields repeat
}

func newDictionary(column, fields int) dictionary {
	return dictionary{column: column, index: map[string]wordID{}, last: make([]wordID, fields)}
}

func (d *dictionary) reset() {
	clear(d.index)
	clear(d.last)
	clear(d.words)
	d.words = d.words[:0]
}

func (d *dictionary) id(c *[columns][]byte, field int, text []byte) wordID {
	if last := d.last[field]; last != 0 && d.words[last-1] == string(text) {
		return last - 1
	}
	id, known := d.index[string(text)]
	if !known {
		return d.add(c, field, string(text))
	}
	d.last[field] = id + 1
	return id
}

func (d *dictionary) idString(c *[columns][]byte, field int, text string) wordID {
	if last := d.last[field]; last != 0 && d.words[last-1] == text {
		return last - 1
	}
	id, known := d.index[text]
	if !known {
		return d.add(c, field, text)
	}
	d.last[field] = id + 1
	return id
}

func (d *dictionary) add(c *[columns][]byte, field int, text string) wordID {
	id := wordID(len(d.words)) //nolint:gosec // at most a few per event
	d.index[text] = id
	d.words = append(d.words, text)
	c[d.column] = binary.AppendUvarint(c[d.column], uint64(len(text)))
	c[d.column] = append(c[d.column], text...)
	d.last[field] = id + 1
	return id
}

// Fields of the word dictionary, for its memory of what came last.
const (
	fieldMethod = iota
	fieldHost
	fieldUpstream
	fieldProtocol
	fieldErrors
	fieldKeyHost
	fieldKeyMethod
	fieldKeyLabel
	wordFields
)

// columnWriter collects the events of one block. Its buffers are reused from block to block.
type columnWriter struct {
	col     [columns][]byte
	words   dictionary
	clients dictionary
	shapes  map[shape]uint32
	keyOf   map[uint32]uint32 // number of a key in the batch → in this block
	time    int64             // of the event before
	ids     bool              // an event has a request id
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
	w.time, w.ids = 0, false
}

// add appends one event. batchKey numbers the event's row key within the batch, and is only used to recognise it.
func (w *columnWriter) add(it *Item, batchKey uint32) {
	e, c := &it.Event, &w.col
	put(&c[colShape], uint64(w.shape(it, batchKey)))
	putSigned(&c[colTime], e.TimeMicros-w.time)
	w.time = e.TimeMicros
	put(&c[colDuration], e.DurationMicros)
	putSigned(&c[colTTFB], int64(e.DurationMicros-e.TTFBMicros)) //nolint:gosec // wraps, and wraps back
	put(&c[colBytesIn], e.RequestBytes)
	put(&c[colBytesOut], e.ResponseBytes)
	put(&c[colClient], uint64(w.clients.id(c, 0, e.Client)))
	w.path(e.Path, it.Label)
	w.trace(e.TraceID)
	w.requestID(e.RequestID)
}

func (w *columnWriter) shape(it *Item, batchKey uint32) uint32 {
	e, c := &it.Event, &w.col
	s := shape{
		kind:     e.Kind,
		status:   e.Status,
		method:   w.words.id(c, fieldMethod, e.Method),
		host:     w.words.id(c, fieldHost, e.Host),
		upstream: w.words.id(c, fieldUpstream, e.Upstream),
		protocol: w.words.id(c, fieldProtocol, e.Protocol),
		errors:   w.words.id(c, fieldErrors, e.ErrorType),
		key:      w.key(it, batchKey),
	}
	id, known := w.shapes[s]
	if known {
		return id
	}
	id = uint32(len(w.shapes)) //nolint:gosec // at most one per event
	w.shapes[s] = id
	c[colShapes] = append(c[colShapes], byte(s.kind))
	for _, v := range [...]uint32{uint32(s.status), s.method, s.host, s.upstream, s.protocol, s.errors, s.key} {
		put(&c[colShapes], uint64(v))
	}
	return id
}

func (w *columnWriter) key(it *Item, batchKey uint32) uint32 {
	id, known := w.keyOf[batchKey]
	if known {
		return id
	}
	id = uint32(len(w.keyOf)) //nolint:gosec // at most one per event
	w.keyOf[batchKey] = id
	c := &w.col
	put(&c[colKeys], uint64(w.words.idString(c, fieldKeyHost, it.Host)))
	put(&c[colKeys], uint64(w.words.idString(c, fieldKeyMethod, it.Method)))
	put(&c[colKeys], uint64(w.words.idString(c, fieldKeyLabel, it.Label)))
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
	c := &w.col
	var raw [traceBytes]byte
	switch {
	case len(id) == 0:
		put(&c[colTrace], 0)
		return
	case len(id) == 2*traceBytes && isLowerHex(id):
		if _, err := hex.Decode(raw[:], id); err == nil {
			put(&c[colTrace], 1)
			c[colTrace] = append(c[colTrace], raw[:]...)
			return
		}
	}
	put(&c[colTrace], uint64(len(id))+2)
	c[colTrace] = append(c[colTrace], id...)
}

func (w *columnWriter) requestID(id []byte) {
	c := &w.col[colRequestID]
	if len(id) == 0 {
		put(c, 0)
		return
	}
	w.ids = true
	if len(id) == uuidTextBytes {
		if u, err := uuid.ParseBytes(id); err == nil && u.String() == string(id) {
			put(c, 1)
			*c = append(*c, u[:]...)
			return
		}
	}
	put(c, uint64(len(id))+2)
	*c = append(*c, id...)
}

// version is that of the block: request ids are in the second only.
func (w *columnWriter) version() byte {
	if w.ids {
		return blockVersion
	}
	return blockVersionPlain
}

// appendTo writes the columns that the block's version has.
func (w *columnWriter) appendTo(dst []byte) []byte {
	for i := range columnsOf(w.version()) {
		dst = binary.AppendUvarint(dst, uint64(len(w.col[i])))
		dst = append(dst, w.col[i]...)
	}
	return dst
}

func put(dst *[]byte, v uint64) { *dst = binary.AppendUvarint(*dst, v) }

func putSigned(dst *[]byte, v int64) { *dst = binary.AppendUvarint(*dst, uint64(v)<<1^uint64(v>>63)) } //nolint:gosec // zigzag

func isLowerHex(text []byte) bool {
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// nextPlaceholder splits a label at its first placeholder, which is what stands in braces.
func nextPlaceholder(label string) (literal, rest string, found bool) {
	open := strings.IndexByte(label, '{')
	if open < 0 {
		return label, "", false
	}
	end := strings.IndexByte(label[open:], '}')
	if end < 0 {
		return label, "", false
	}
	return label[:open], label[open+end+1:], true
}

// appendPlaceholders matches a path with its label and appends the length and bytes of what stands in each placeholder,
// which ends at a slash or at the end of the path. It reports false where the path does not fit; dst is then spoilt beyond
// its old length.
func appendPlaceholders(dst, path []byte, label string) ([]byte, bool) {
	for {
		literal, rest, found := nextPlaceholder(label)
		if len(path) < len(literal) || string(path[:len(literal)]) != literal {
			return dst, false
		}
		path = path[len(literal):]
		if !found {
			return dst, len(path) == 0
		}
		n := bytes.IndexByte(path, '/')
		if n < 0 {
			n = len(path)
		}
		dst = binary.AppendUvarint(dst, uint64(n))
		dst = append(dst, path[:n]...)
		path, label = path[n:], rest
	}
}

// appendPath undoes appendPlaceholders.
func appendPath(dst []byte, label string, in *reader) []byte {
	for {
		literal, rest, found := nextPlaceholder(label)
		dst = append(dst, literal...)
		if !found || in.bad {
			return dst
		}
		dst = append(dst, in.text(event.PathBytesMax)...)
		label = rest
	}
}
