// Package catalogue defines types that the store and the uploader share: the blocks of events, the plans of archive objects, and
// the state of these plans.
//
// A plan is made once and stored durably before the first byte is sent. Every retry executes it unchanged: the same plan over the
// same blocks gives the same bytes under the same key. This makes a retry harmless.
package catalogue

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// BlockID names one block of events in the store: the hour of its events, the batch that brought it, and its index in that batch.
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

// RunsMax is the largest number of runs in one plan, which the store keeps in one value. If an object of another store has more,
// its plan has none.
const RunsMax = 8192

// Pending is one block that is applied and not yet planned into an archive object.
type Pending struct {
	ID    BlockID
	Epoch uuid.UUID
	Runs  []Run  // ascending, disjoint
	Rows  uint64 // responses: drop records are not counted
	Lines uint64 // all records, drop records included
	Bytes uint64 // encoded size of its records before compression
	// MaxTime is the newest recording time in the block.
	MaxTime time.Time
	// AppliedAt is when the block was written to the store.
	AppliedAt time.Time
}

// RowName names the statistics row that counts an event, without its hour. Host, method and route are those of the row, which can be
// "(other)" if those of the event are not.
type RowName struct{ Host, Method, Label, Route string }

// Clone copies the texts of a name that is valid during a call only.
func (n RowName) Clone() RowName {
	return RowName{strings.Clone(n.Host), strings.Clone(n.Method), strings.Clone(n.Label), strings.Clone(n.Route)}
}

// State is the state of a plan. It only moves forward.
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

	// Besides the blocks, the content depends on these.
	FormatVersion int      `json:"format_version"`
	Service       string   `json:"service"`
	Instance      string   `json:"instance"`
	Fields        []string `json:"fields,omitempty"` // optional fields that are written, e.g. "trace_id"

	CreatedAt time.Time `json:"created_at"`

	// StatsKey is the key of the statistics object of these events. It is empty in plans from before there were such objects.
	StatsKey string `json:"stats_key,omitempty"`

	// Target is the archive for which it is planned, and which then has it: "s3://BUCKET/PREFIX?endpoint=…", "file:///DIR", or "data:DIR"
	// for a directory within the data directory.
	Target string `json:"target,omitempty"`

	// Known once verified.
	RawBytes     uint64    `json:"raw_bytes,omitempty"`
	ObjectBytes  uint64    `json:"object_bytes,omitempty"`
	RawSHA256    string    `json:"raw_sha256,omitempty"`    // of the NDJSON, hex
	ObjectSHA256 string    `json:"object_sha256,omitempty"` // of the gzip object, hex
	VerifiedAt   time.Time `json:"verified_at,omitzero"`
	// Observed is the time during which wayside ran on this store until the object was verified. Expiry uses it.
	Observed    time.Duration `json:"observed_ns,omitempty"`
	StatsRows   uint64        `json:"stats_rows,omitempty"`   // lines of the statistics object
	StatsBytes  uint64        `json:"stats_bytes,omitempty"`  // of the gzip object
	StatsSHA256 string        `json:"stats_sha256,omitempty"` // of the gzip object, hex

	// Imported says that another store, which was set aside, archived the object, and that it was imported here. Elsewhere is the number of
	// its responses that only the other store counted.
	Imported  bool   `json:"adopted,omitempty"`
	Elsewhere uint64 `json:"elsewhere,omitempty"`

	// RefilledRows is the number of the object's statistics rows that were counted here by a refill. Refilled says that these are all.
	RefilledRows int  `json:"refilled_rows,omitempty"`
	Refilled     bool `json:"refilled,omitempty"`

	// Known once retention has removed the local blocks.
	DeletedAt time.Time `json:"deleted_at,omitzero"`

	// Known once the object itself was removed from the archive, which archive.expire does.
	ExpiredAt time.Time `json:"expired_at,omitzero"`
}

// Counted is the number of the plan's responses that this store counts.
func (p *Plan) Counted() uint64 { return p.Rows - p.Elsewhere }

// AppendRuns appends runs in ascending order, and joins those without a gap between them.
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

// Contains reports whether a sequence number is in one of the runs, which ascend.
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

// Overlap reports whether a sequence number is in both lists of runs, which ascend.
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
