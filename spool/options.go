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
	// ErrOptions is returned by Open if an option is outside its limits.
	ErrOptions = errors.New("spool options outside limits")
	// ErrUnknownEpoch is returned for an epoch that is not in this spool.
	ErrUnknownEpoch = errors.New("unknown spool epoch")
	// ErrNotDrained is returned by Retire for the current epoch, and for an epoch with events that have not been acknowledged.
	ErrNotDrained = errors.New("spool epoch is not drained")
	// ErrAckBeyond is returned by Ack for a seq that has never been committed, and therefore never delivered.
	ErrAckBeyond = errors.New("acknowledged beyond what was delivered")
	// ErrQueueFull is returned by Flush if events must remain in the journal because the queue has reached its limit.
	ErrQueueFull = errors.New("spool queue is full")
	// ErrUnavailable is returned by Flush if no queue file can be written.
	ErrUnavailable = errors.New("spool cannot be written")
	// ErrClosed is returned by calls after Close.
	ErrClosed = errors.New("spool is closed")
)

// QueueBytesMin is the smallest Options.QueueBytesMax.
const QueueBytesMin = 1 << 20

// queueSegments is the smallest size of a queue, in journal segments. A full segment becomes one batch, which bbolt stores in adjacent
// pages. In a queue that is only slightly larger than that, a batch might not fit even after all others had been removed, and nothing more
// could be recorded.
const queueSegments = 8

// Options configure Open. The zero value of a field means its default.
type Options struct {
	Dir            string        // <data>/spool; required
	QuarantineDir  string        // where damaged files are moved to; default Dir + "-quarantine"
	SegmentBytes   int           // size of a journal segment, default 1 MiB; 64 KiB to 32 MiB, but at most an eighth of QueueBytesMax
	Segments       int           // journal segments, default 8; 2 to 64
	CommitInterval time.Duration // longest time from the first event in a segment to its commit, default 100ms
	QueueBytesMax  int64         // largest size of a queue file, default 256 MiB; at least QueueBytesMin
	// AgeMax is how long a batch may wait in the queue before it expires and counts as dropped for the reason "age". Only the time during
	// which a wayside process has the spool open counts. 0 means that batches never expire.
	AgeMax time.Duration
	// SyncEachResponse makes Record wait until the event has been fsynced, the fsync has failed, or SyncWaitMax has passed.
	SyncEachResponse bool
	ReopenInterval   time.Duration // pause between attempts to reopen a spool that has failed, default 2s
	// OpenFile opens journal and queue files; nil means os.OpenFile. For fault injection.
	OpenFile func(name string, flag int, perm os.FileMode) (*os.File, error)
	// OnPublish receives the data that a consumer passes to Publish, and owns it. It must be safe for concurrent use; if it is nil, the
	// data is discarded.
	OnPublish func(topic string, body []byte) error
	// OnFetch returns the data for a consumer that calls Fetch. It must be safe for concurrent use; if it is nil, Fetch fails.
	OnFetch func(topic string) ([]byte, error)
	Now     func() time.Time // nil means clock.Now
	Logger  *slog.Logger     // nil means no logging

	segmentBytes int // size of new segments; existing ones may be as large as SegmentBytes, which recovery must allow for
}

// SyncWaitMax limits how long Record waits with SyncEachResponse: a disk that hangs must not stop traffic forever.
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

// queue returns the options for queue files.
func (o *Options) queue() queue.Options {
	return queue.Options{OpenFile: o.OpenFile, BytesMax: o.QueueBytesMax}
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
