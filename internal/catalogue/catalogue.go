// Package catalogue defines types that the store and the uploader share: the blocks of events, the plans of archive objects, and
// the state of these plans.
//
// A plan is created once, and stored durably before the first byte of its object is sent. Every retry executes the plan unchanged: the
// same plan with the same blocks gives the same bytes under the same key. So retries are harmless.
package catalogue

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// BlockID identifies a block of events in the store by the hour of its events, the batch with which it was applied, and its index in that
// batch.
type BlockID struct {
	Hour  int64  `json:"hour"` // hours since 1970-01-01T00:00Z
	Batch uint64 `json:"batch"`
	Index uint16 `json:"index"`
}

// Run is a range of sequence numbers without gaps, both ends included.
type Run struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// RunsMax is the maximum number of runs in one plan, which must fit into one value in the store. If an object of another store has more
// runs, its plan has none.
const RunsMax = 8192

// Pending is a block that has been applied but is not in the plan of an archive object yet.
type Pending struct {
	ID    BlockID
	Epoch uuid.UUID
	Runs  []Run  // ascending, disjoint
	Rows  uint64 // number of responses; drop records are not counted
	Lines uint64 // number of all records, including drop records
	Bytes uint64 // encoded size of its records before compression
	// MaxTime is the newest recording time in the block.
	MaxTime time.Time
	// AppliedAt is when the block was written to the store.
	AppliedAt time.Time
}

// RowName is the name of the statistics row in which an event is counted, without its hour. Host, Method and Route are those of the row,
// and can be "(other)" even if the event's own values are specific.
type RowName struct{ Host, Method, Label, Route string }

// Clone copies the texts of a name that is only valid during a call.
func (n RowName) Clone() RowName {
	return RowName{strings.Clone(n.Host), strings.Clone(n.Method), strings.Clone(n.Label), strings.Clone(n.Route)}
}

// State is the state of a plan. It normally only moves forward.
type State string

// The states of a plan.
const (
	// Planned means that the plan is durable. Its object may or may not exist.
	Planned State = "planned"
	// Verified means that the object has been read back and found correct.
	Verified State = "verified"
	// Deleted means that the plan was verified and retention has removed the local blocks.
	Deleted State = "deleted"
)

// Plan describes one archive object: its contents, and after verification its sizes and hashes.
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
	// MaxTime is the newest recording time in the object. Retention uses it.
	MaxTime time.Time `json:"max_time"`

	// The following fields also determine the content of the object.
	FormatVersion int      `json:"format_version"`
	Service       string   `json:"service"`
	Instance      string   `json:"instance"`
	Fields        []string `json:"fields,omitempty"` // optional fields that are written, e.g. "trace_id"

	CreatedAt time.Time `json:"created_at"`

	// StatsKey is the key of the statistics object for these events. It is empty in plans of versions that had no statistics objects.
	StatsKey string `json:"stats_key,omitempty"`

	// Target is the archive for which the object is planned and in which it is stored: "s3://BUCKET/PREFIX?endpoint=…", "file:///DIR", or
	// "data:DIR" for a directory inside the data directory.
	Target string `json:"target,omitempty"`

	// The following fields are known after verification.
	RawBytes     uint64    `json:"raw_bytes,omitempty"`
	ObjectBytes  uint64    `json:"object_bytes,omitempty"`
	RawSHA256    string    `json:"raw_sha256,omitempty"`    // hash of the NDJSON, in hex
	ObjectSHA256 string    `json:"object_sha256,omitempty"` // hash of the gzip object, in hex
	VerifiedAt   time.Time `json:"verified_at,omitzero"`
	// Observed is the total time that wayside had been running with this store when the object was verified. Expiry uses it.
	Observed    time.Duration `json:"observed_ns,omitempty"`
	StatsRows   uint64        `json:"stats_rows,omitempty"`   // number of lines of the statistics object
	StatsBytes  uint64        `json:"stats_bytes,omitempty"`  // size of the gzip object
	StatsSHA256 string        `json:"stats_sha256,omitempty"` // hash of the gzip object, in hex

	// Imported means that the object was archived by another store, which was set aside, and then imported into this one. Elsewhere is
	// the number of the object's responses that were counted only in the other store.
	Imported  bool   `json:"adopted,omitempty"`
	Elsewhere uint64 `json:"elsewhere,omitempty"`

	// RefilledRows is the number of the object's statistics rows that a refill has counted in this store. Refilled means that all of them
	// have been counted.
	RefilledRows int  `json:"refilled_rows,omitempty"`
	Refilled     bool `json:"refilled,omitempty"`

	// DeletedAt is set when retention has removed the local blocks.
	DeletedAt time.Time `json:"deleted_at,omitzero"`

	// ExpiredAt is set when archive.expire has removed the object itself from the archive.
	ExpiredAt time.Time `json:"expired_at,omitzero"`
}

// Counted returns how many of the plan's responses this store counts.
func (p *Plan) Counted() uint64 { return p.Rows - p.Elsewhere }

// AppendRuns appends runs, which must be in ascending order, and joins runs without a gap between them.
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

// Contains reports whether a sequence number is in one of the runs, which must be in ascending order.
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

// Overlap reports whether any sequence number is in both lists of runs, which must be in ascending order.
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
