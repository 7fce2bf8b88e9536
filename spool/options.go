package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// Sentinel errors.
var (
	// ErrOptions is returned by Open for options outside their limits.
	ErrOptions = errors.New("spool options outside limits")
	// ErrUnknownEpoch is returned for an epoch that this spool does not hold.
	ErrUnknownEpoch = errors.New("unknown spool epoch")
	// ErrNotDrained is returned by Retire for an epoch that is still written or holds events that were not acknowledged.
	ErrNotDrained = errors.New("spool epoch is not drained")
	// ErrAckBeyond is returned by Ack for a seq that was never committed, and so never delivered.
	ErrAckBeyond = errors.New("acknowledged beyond what was delivered")
	// ErrQueueFull is returned by Flush when events must stay in the journal because the queue reached its limit.
	ErrQueueFull = errors.New("spool queue is full")
	// ErrUnavailable is returned by Flush when no queue file can be written.
	ErrUnavailable = errors.New("spool cannot be written")
	// ErrClosed is returned by calls after Close.
	ErrClosed = errors.New("spool is closed")
)

// QueueBytesMin is the smallest Options.QueueBytesMax.
const QueueBytesMin = 1 << 20

// queueSegments is how many journal segments a queue has room for at least. A full segment becomes one batch, which bbolt stores in
// pages that lie beside each other: in a queue of hardly more than that it would not fit although all else has been taken, and
// nothing would be recorded ever again.
const queueSegments = 8

// Options configure Open. The zero value of a field means the default it names.
type Options struct {
	Dir            string        // <data>/spool; required
	QuarantineDir  string        // where damaged files are set aside; default Dir + "-quarantine"
	SegmentBytes   int           // size of a journal segment, default 1 MiB; 64 KiB to 32 MiB, but no more than an eighth of QueueBytesMax
	Segments       int           // journal segments, default 8; 2 to 64
	CommitInterval time.Duration // longest time from a segment's first event to its commit, default 100ms
	QueueBytesMax  int64         // hard cap of a queue file, default 256 MiB; at least QueueBytesMin
	// AgeMax is how long a batch may wait in the queue, while a process of wayside holds it, before it is given up and counted as
	// dropped for the reason "age". 0: for ever.
	AgeMax time.Duration
	// SyncEachResponse makes Record wait until the event is fsynced, or the attempt failed, or SyncWaitMax is over.
	SyncEachResponse bool
	ReopenInterval   time.Duration // pause between attempts to open a spool that failed, default 2s
	// OpenFile opens journal and queue files; nil is os.OpenFile. For fault injection.
	OpenFile func(name string, flag int, perm os.FileMode) (*os.File, error)
	// OnPublish receives what a consumer leaves with Publish. It must be safe for concurrent use; nil discards. The body
	// belongs to it.
	OnPublish func(topic string, body []byte) error
	Now       func() time.Time // nil is clock.Now
	Logger    *slog.Logger     // nil discards

	segmentBytes int // of new segments; recovery reckons with SegmentBytes, which older ones may have
}

// SyncWaitMax bounds how long Record waits with SyncEachResponse: a disk that hangs must not hold up traffic for ever.
const SyncWaitMax = 5 * time.Second

func (o Options) withDefaults() (Options, error) {
	def(&o.SegmentBytes, 1<<20)
	def(&o.Segments, 8)
	def(&o.CommitInterval, 100*time.Millisecond)
	def(&o.QueueBytesMax, 256<<20)
	def(&o.ReopenInterval, 2*time.Second)
	if o.OpenFile == nil {
		o.OpenFile = os.OpenFile
	}
	if o.Now == nil {
		o.Now = clock.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Dir != "" && o.QuarantineDir == "" {
		o.QuarantineDir = o.Dir + "-quarantine"
	}
	switch {
	case o.Dir == "":
		return o, fmt.Errorf("%w: no folder", ErrOptions)
	case o.SegmentBytes < journal.SegmentBytesMin || o.SegmentBytes > journal.SegmentBytesMax || o.SegmentBytes%4096 != 0:
		return o, fmt.Errorf("%w: segment of %d bytes", ErrOptions, o.SegmentBytes)
	case o.Segments < journal.SegmentsMin || o.Segments > journal.SegmentsMax:
		return o, fmt.Errorf("%w: %d segments", ErrOptions, o.Segments)
	case o.QueueBytesMax < QueueBytesMin:
		return o, fmt.Errorf("%w: queue of %d bytes", ErrOptions, o.QueueBytesMax)
	case o.CommitInterval < 0 || o.ReopenInterval < 0 || o.AgeMax < 0:
		return o, fmt.Errorf("%w: negative interval", ErrOptions)
	}
	o.segmentBytes = min(o.SegmentBytes, max(int(o.QueueBytesMax/queueSegments)&^4095, journal.SegmentBytesMin))
	return o, nil
}

// queue are the options of queue files.
func (o *Options) queue() queue.Options {
	return queue.Options{OpenFile: o.OpenFile, BytesMax: o.QueueBytesMax}
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Refusal says why an event was not recorded. Zero means that it was.
type Refusal uint8

// Refusals. The names that String returns are the keys of Ledger.Dropped.
const (
	Accepted           Refusal = iota
	RefusedFull                // journal and queue are full
	RefusedFault               // the journal's mapping failed
	RefusedClosed              // after Close
	RefusedUnavailable         // no spool could be opened
	RefusedTooLarge            // the record would fill more than half a journal segment
	lostDamaged                // accepted, then lost to a damaged file
	lostAge                    // accepted, then given up because nobody took it within Options.AgeMax
	refusals                   // number of values
)

var refusalNames = [refusals]string{"accepted", "full", "fault", "closed", "unavailable", "too_large", "damaged", "age"}

// String is the reason as it stands in ledgers and drop records.
func (r Refusal) String() string {
	if r >= refusals {
		return "unknown"
	}
	return refusalNames[r]
}

// DropReasons are the keys that Ledger.Dropped may have.
func DropReasons() []string { return refusalNames[RefusedFull:] }

// Status is what readiness, metrics and logs show of a Set.
type Status struct {
	Degraded         string        // why events cannot be recorded or committed; empty when all is well
	QueueBytes       int64         // size of all queue files on disk
	PendingEvents    uint64        // records not acknowledged, journal included
	OldestAge        time.Duration // age of the oldest committed batch that was not acknowledged
	Epochs           int           // folders held, the active one included
	NewerEpochs      int           // folders that wait for the newer wayside that wrote them, held or not
	SegmentsInUse    int           // journal segments that are not free
	SegmentsUsable   int           // journal segments that have not failed
	Commits          uint64        // successful commits since Open
	CommitErrors     uint64        // failed commits, a full queue not counted
	FullCommits      uint64        // commits refused because the queue was full
	JournalFaults    uint64        // mappings that failed
	QuarantinedFiles uint64        // files and values set aside since Open
	FoundLost        uint64        // responses of earlier processes that were found lost since Open; their ledgers count them as dropped (damaged)
	GivenUp          uint64        // responses given up since Open because they waited too long, those of earlier processes included
	Unsynced         uint64        // with SyncEachResponse: responses released although the fsync failed or took too long
}
