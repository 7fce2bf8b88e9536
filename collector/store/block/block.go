// Package block encodes and decodes blocks of events. A block holds up to [EventsMax] events of one hour and one epoch, column by column.
// Equal and similar values are next to each other, so they compress well: to about a sixth of the total size of the separately encoded
// events.
//
// # Format
//
//	version (1) | codec (1: 0 plain, 1 zstd) | reserved (2) | CRC32C of the rest (4) | header | uvarint size | payload
//
// The header is a [Header]: a summary that readers can use without decoding the events. The payload has one column per field; columns.go
// lists them. Version 2 adds a column of request IDs. Version 3 adds two columns with the time until the upstream had the request and the
// time spent waiting for a connection. Version 4 adds two columns of routes, attempts, TLS versions and gRPC statuses. A block is written
// in the oldest version that has all the columns it needs, so older builds can read it if possible.
//
// The format is pinned by golden files. Values are little endian; "uvarint" is the unsigned varint of [encoding/binary].
package block

import (
	"fmt"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// Limits of a block.
const (
	// EventsMax is the maximum number of events in one block. The events of a block share its dictionaries and the work that is done per
	// block.
	EventsMax = 2048
	// KeyTextBytesMax limits the total length of a row's host, method, label and route; Badger's own limit for a key is 65,000 bytes.
	KeyTextBytesMax = 16 << 10
)

const (
	// rawBytesMax is the size of the uncompressed events at which a block ends early. Even a block that does not
	// compress must stay below Badger's value threshold, because Badger would otherwise write it to the value log.
	rawBytesMax = 512 << 10

	version          = 4 // the newest, used if an event or a row has a route, or an event has attempts, a TLS version or a gRPC status
	versionWithTimes = 3 // otherwise used if an event has a request time or a wait
	versionWithID    = 2 // otherwise used if an event has a request ID
	versionPlain     = 1 // used otherwise
	codecPlain       = 0
	codecZstd        = 1

	headBytes       = 8       // version, codec, two reserved bytes, CRC32C of the rest
	payloadBytesMax = 8 << 20 // before compression: a block ends with the event that reaches rawBytesMax
	zstdWindowBytes = 128 << 10
	recordsLimit    = 1 << 16
)

// Item is one event of a batch, decoded and labeled.
type Item struct {
	Seq uint64
	// Host, Method, Label and Route name the row that counts the event; any of them may be "(other)".
	Host, Method, Label, Route string
	// Event is stored field by field. Its slices are only read while the block is being encoded.
	Event event.Event
	// Record is the event's encoded form, of which only the length is used. If Record is nil, the event's Size method is used instead.
	Record []byte
}

func (it *Item) size() int {
	if it.Record != nil {
		return len(it.Record)
	}
	return it.Event.Size()
}

// Name formats a block's identity for messages.
func Name(id catalogue.BlockID) string { return fmt.Sprintf("%d/%d/%d", id.Hour, id.Batch, id.Index) }
