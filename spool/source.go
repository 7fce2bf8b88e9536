package spool

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// Source is a spool as seen by its consumer: a *Set in the same process, or a *Client over a connection.
type Source interface {
	// Peek returns the oldest unacknowledged batches, all from one epoch, in order of seq. Epochs of dead processes come first, without
	// waiting. For the current epoch, Peek waits until MinEvents or MaxBytes have been committed, until the oldest of these batches is
	// MaxWait old, or until a Flush. After MaxWait without any batch it returns nil and no error. The batches are read-only and remain
	// valid.
	Peek(ctx context.Context, o PeekOptions) ([]event.Batch, error)
	// Ack declares that all events of the epoch up to and including seq are durable elsewhere. It takes effect immediately and
	// becomes durable with a later commit. After a crash before that commit, the events are delivered again.
	Ack(ctx context.Context, epoch uuid.UUID, seq uint64) error
	// Ledgers returns the ledger of every epoch in the spool, oldest first. applied maps each epoch to the seq up to which the caller
	// already has the events, which therefore do not count as Spooled.
	Ledgers(ctx context.Context, applied map[uuid.UUID]uint64) ([]Ledger, error)
	// Reconcile makes the ledger of an epoch agree with the consumer. held is the number of responses with a seq up to seq that the
	// consumer has stored durably. Events up to seq count as acknowledged. Responses that count as damaged or expired, but that the
	// consumer has, count as recorded again. missing is the number of acknowledged responses that the consumer does not have and must
	// count as lost.
	Reconcile(ctx context.Context, epoch uuid.UUID, seq, held uint64) (missing uint64, err error)
	// Retire removes the folder of a closed epoch whose events are all acknowledged. The caller must have stored the epoch's ledger
	// durably. For an epoch that is no longer in the spool, Retire does nothing. For one that is not drained, it returns ErrNotDrained.
	Retire(ctx context.Context, epoch uuid.UUID) error
	// Publish passes bytes to the traffic process under a topic. The spool does not interpret them.
	Publish(ctx context.Context, topic string, body []byte) error
	// Fetch returns the bytes that the traffic process has for a topic. The spool does not interpret them. A traffic process of an older
	// version returns an error if it does not support the request or the topic.
	Fetch(ctx context.Context, topic string) ([]byte, error)
}

// PeekOptions control how long Peek waits and how much it returns. Zero means the default.
type PeekOptions struct {
	MinEvents int           // number of events at which Peek returns before MaxWait, default 1
	MaxBytes  int           // of all batches together, unless the first one is larger; default 1 MiB
	MaxWait   time.Duration // default: do not wait
}

var _ Source = (*Set)(nil)
