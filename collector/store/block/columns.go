package block

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unsafe"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// The columns of a block's payload in their order, each stored as a length and its bytes. They are part of the format.
//
// Fields with few different values are not stored event by event. An event's combination of these fields is its shape, an entry of a
// dictionary to which the event refers by number. Times are stored as differences. For a path that matches its label, only the texts that
// match the label's placeholders are stored.
const (
	colWords     = iota // dictionary of strings: (length, bytes)
	colClients          // dictionary of client addresses: (length, bytes)
	colKeys             // dictionary of row keys: words of host, method, label
	colShapes           // dictionary of shapes: kind (1), status, words of method, host, upstream, protocol, error; key
	colShape            // per event: its shape
	colTime             // per event: zigzag difference to the previous event, µs
	colDuration         // per event: µs
	colTTFB             // per event: zigzag duration minus time to the first byte, µs
	colBytesIn          // per event
	colBytesOut         // per event
	colClient           // per event: its client
	colPathForm         // per event: 0 if the path matches the label, else its length plus 1
	colPathText         // paths that do not match; for those that do, the length (1 to 2) and bytes of each placeholder's text
	colTrace            // per event: 0 none, 1 sixteen bytes of lower-case hex, else length plus 2; and the bytes
	colRequestID        // per event, from version 2: 0 none, 1 a UUID as sixteen bytes, else length plus 2; and the bytes
	colRequest          // per event, from version 3: µs until the upstream had the request
	colWait             // per event, from version 3: µs of waiting for a connection
	colKeyRoute         // per row key, from version 4: word of its route plus 1, or 0
	colEdge             // per shape, from version 4: word of the event's route plus 1, or 0; attempts, TLS version, gRPC status (1 each)
	columns
)

const (
	idBytes       = 16 // length of the short form of a trace ID or a UUID
	uuidTextBytes = 36
)

func columnsOf(version byte) int {
	switch version {
	case versionPlain:
		return colRequestID
	case versionWithID:
		return colRequest
	case versionWithTimes:
		return colKeyRoute
	}
	return columns
}

type wordID = uint32

// shape is a combination of fields that many events of a block share.
type shape struct {
	kind                                     event.Kind
	status                                   uint16
	method, host, upstream, protocol, errors wordID
	route                                    wordID // word plus 1; 0: none
	edge                                     event.Edge
	key                                      uint32
}

// dictionary numbers strings in the order in which they first appear and writes them to a column.
type dictionary struct {
	column int
	index  map[string]wordID
	words  []string
	last   []wordID // per field: its latest word plus 1, because most values repeat
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

// number returns the number of a text. If the text is new and borrowed, it is copied.
func (d *dictionary) number(c *[columns][]byte, field int, text string, borrowed bool) wordID {
	if last := d.last[field]; last != 0 && d.words[last-1] == text {
		return last - 1
	}
	id, known := d.index[text]
	if !known {
		if borrowed {
			text = strings.Clone(text)
		}
		id = wordID(len(d.words))
		d.index[text] = id
		d.words = append(d.words, text)
		c[d.column] = varint.AppendText(c[d.column], text)
	}
	d.last[field] = id + 1
	return id
}

// Fields that use the dictionary of words. They index dictionary.last.
const (
	fieldMethod = iota
	fieldHost
	fieldUpstream
	fieldProtocol
	fieldErrors
	fieldKeyHost
	fieldKeyMethod
	fieldKeyLabel
	fieldRoute
	fieldKeyRoute
	wordFields
)

// view returns bytes as a string without copying them. The string is valid for as long as the bytes are.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func put(dst *[]byte, v uint64) { *dst = binary.AppendUvarint(*dst, v) }

// NextPlaceholder splits a label at its first placeholder (a text in braces).
func NextPlaceholder(label string) (literal, rest string, found bool) {
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

// appendPlaceholders matches a path against its label and appends, for each placeholder, the length and bytes of the text that matches
// it. That text ends at a slash or at the end of the path. If the path does not match, appendPlaceholders returns false, and the array
// behind dst may contain garbage beyond the length of dst.
func appendPlaceholders(dst, path []byte, label string) ([]byte, bool) {
	for {
		literal, rest, found := NextPlaceholder(label)
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
		dst = varint.AppendText(dst, path[:n])
		path, label = path[n:], rest
	}
}

// appendPath reverses appendPlaceholders.
func appendPath(dst []byte, label string, in *varint.Reader) []byte {
	for {
		literal, rest, found := NextPlaceholder(label)
		dst = append(dst, literal...)
		if !found || in.Bad {
			return dst
		}
		dst = append(dst, in.Text(event.PathBytesMax)...)
		label = rest
	}
}
