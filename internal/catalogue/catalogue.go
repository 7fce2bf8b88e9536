// Package catalogue holds the words that the store and the uploader share: which blocks of events exist, which archive
// object they are planned into, and how far that object has come.
//
// A plan is made once, stored durably before the first byte is sent, and executed as written by every retry: the same
// plan over the same blocks gives the same bytes under the same key, which is what makes a retry harmless.
package catalogue

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// BlockID names one block of events in the store: the hour its events belong to, the batch that brought it, and its
// place in that batch.
type BlockID struct {
	Hour  int64  `json:"hour"` // hours since 1970-01-01T00:00Z
	Batch uint64 `json:"batch"`
	Index uint16 `json:"index"`
}

// Run is a range of sequence numbers, both ends included, in which every number is present.
type Run struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// RunsMax is the largest number of runs in one plan, which the store keeps in one value. The entry of an object that another store
// made and that has more does without them, like one whose metadata had no room.
const RunsMax = 8192

// Pending is one block that is applied and not yet planned into an archive object.
type Pending struct {
	ID    BlockID
	Epoch uuid.UUID
	Runs  []Run  // ascending, disjoint
	Rows  uint64 // responses: drop records are not counted
	Lines uint64 // all records, drop records included
	Bytes uint64 // encoded size of its records before compression
	// MaxTime is the newest recording moment in the block.
	MaxTime time.Time
	// AppliedAt is when the block was written to the store.
	AppliedAt time.Time
}

// RowName names the statistics row that counts an event, without its hour. Host and method are those of the row, which may
// say "(other)" where the event itself does not.
type RowName struct{ Host, Method, Label string }

// State says how far a plan has come. States only move forward.
type State string

// The states of a plan.
const (
	// Planned: durable, its object may or may not exist.
	Planned State = "planned"
	// Verified: the object was read back and its content matched.
	Verified State = "verified"
	// Deleted: verified, and the local blocks were removed by retention.
	Deleted State = "deleted"
)

// Plan describes one archive object: what goes into it, and after verification what it turned out to be.
type Plan struct {
	ID    uint64    `json:"id"` // ascending, assigned when the plan is stored
	State State     `json:"state"`
	Hour  int64     `json:"hour"` // hours since 1970-01-01T00:00Z; an object never spans hours
	Epoch uuid.UUID `json:"epoch"`
	// Key is the object's name below the target's prefix, starting with "v1/".
	Key    string    `json:"key"`
	Blocks []BlockID `json:"blocks"`
	Runs   []Run     `json:"runs"` // exact sequence numbers, ascending and disjoint
	Rows   uint64    `json:"rows"`
	Lines  uint64    `json:"lines"`
	// MaxTime is the newest recording moment in the object; retention goes by it.
	MaxTime time.Time `json:"max_time"`

	// What the content depends on besides the blocks.
	FormatVersion int      `json:"format_version"`
	Service       string   `json:"service"`
	Instance      string   `json:"instance"`
	Fields        []string `json:"fields,omitempty"` // optional fields that are written, e.g. "trace_id"

	CreatedAt time.Time `json:"created_at"`

	// StatsKey is where the statistics of exactly these events stand; empty in plans made before there were any.
	StatsKey string `json:"stats_key,omitempty"`

	// Target is the archive that it is planned for and then is in: "s3://BUCKET/PREFIX?endpoint=…", "file:///DIR", or "data:DIR" for a
	// directory within the data directory.
	Target string `json:"target,omitempty"`

	// Known once verified.
	RawBytes     uint64    `json:"raw_bytes,omitempty"`
	ObjectBytes  uint64    `json:"object_bytes,omitempty"`
	RawSHA256    string    `json:"raw_sha256,omitempty"`    // of the NDJSON, hex
	ObjectSHA256 string    `json:"object_sha256,omitempty"` // of the gzip object, hex
	VerifiedAt   time.Time `json:"verified_at,omitzero"`
	// Observed is how much time had been seen to pass, since the store was made, when it was verified: expiry goes by it.
	Observed    time.Duration `json:"observed_ns,omitempty"`
	StatsRows   uint64        `json:"stats_rows,omitempty"`   // lines of the statistics object
	StatsBytes  uint64        `json:"stats_bytes,omitempty"`  // of the gzip object
	StatsSHA256 string        `json:"stats_sha256,omitempty"` // of the gzip object, hex

	// Adopted says that the object was made from another store, which was set aside, and entered here as it was found.
	// Elsewhere is the number of its responses that this store never counted: they were applied to the other one.
	Adopted   bool   `json:"adopted,omitempty"`
	Elsewhere uint64 `json:"elsewhere,omitempty"`

	// RefilledRows is the number of the object's rows of statistics that were counted here after the store that made it was lost.
	// Refilled says that all of them are in.
	RefilledRows int  `json:"refilled_rows,omitempty"`
	Refilled     bool `json:"refilled,omitempty"`

	// Known once retention has removed the local blocks.
	DeletedAt time.Time `json:"deleted_at,omitzero"`

	// Known once the object itself was removed from the archive, which archive.expire does.
	ExpiredAt time.Time `json:"expired_at,omitzero"`
}

// Counted is the number of the plan's responses that this store counts.
func (p *Plan) Counted() uint64 { return p.Rows - p.Elsewhere }

// AppendRuns appends runs in ascending order, and joins those that touch.
func AppendRuns(runs []Run, more ...Run) []Run {
	for _, m := range more {
		if n := len(runs); n > 0 && runs[n-1].Last+1 == m.First {
			runs[n-1].Last = m.Last
			continue
		}
		runs = append(runs, m)
	}
	return runs
}

// Contains reports whether a sequence number lies in one of the runs, which ascend.
func Contains(runs []Run, seq uint64) bool {
	_, found := slices.BinarySearchFunc(runs, seq, func(r Run, seq uint64) int {
		switch {
		case r.Last < seq:
			return -1
		case r.First > seq:
			return 1
		}
		return 0
	})
	return found
}

// Overlap reports whether a sequence number lies in both lists of runs, which ascend.
func Overlap(a, b []Run) bool {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].Last < b[0].First:
			a = a[1:]
		case b[0].Last < a[0].First:
			b = b[1:]
		default:
			return true
		}
	}
	return false
}
