package spool

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// Source is the reading side of a spool: a *Set in the same process, or a *Client over a connection.
type Source interface {
	// Peek returns the oldest batches that were not acknowledged, all of one epoch, in order of seq. Epochs of dead
	// processes come first, at once. Of the active epoch it waits until MinEvents or MaxBytes are committed, until MaxWait
	// after the oldest of them, or for a Flush. It returns nothing, and no error, after MaxWait with nothing to return.
	// The batches are read-only and stay valid.
	Peek(ctx context.Context, o PeekOptions) ([]event.Batch, error)
	// Ack says that everything of the epoch up to and including seq is durable elsewhere. It takes effect at once and is
	// durable with a later commit; after a crash before that, events are delivered again.
	Ack(ctx context.Context, epoch uuid.UUID, seq uint64) error
	// Ledgers returns the account of every epoch held, oldest first. applied tells, per epoch, the seq up to which the
	// caller holds the events itself: they do not count as Spooled.
	Ledgers(ctx context.Context, applied map[uuid.UUID]uint64) ([]Ledger, error)
	// Reconcile makes the account of an epoch agree with the consumer's, who holds so many of its responses for good, those up
	// to seq. What is up to seq counts as acknowledged; what was counted as damaged, or given up for its age, after the consumer had
	// taken it counts as recorded again. The responses that were acknowledged, and that the consumer does not have, are missing: the
	// consumer has lost them and must say so in its own account.
	Reconcile(ctx context.Context, epoch uuid.UUID, seq, held uint64) (missing uint64, err error)
	// Retire removes the folder of a closed epoch whose events are all acknowledged. The caller has stored its ledger
	// durably. An epoch that is not held any more is not an error; one that is not drained gives ErrNotDrained.
	Retire(ctx context.Context, epoch uuid.UUID) error
	// Publish leaves bytes with the traffic process under a topic. They are the consumer's and are not interpreted.
	Publish(ctx context.Context, topic string, body []byte) error
}

// PeekOptions say how much Peek waits for and returns. Zero means the default.
type PeekOptions struct {
	MinEvents int           // events worth returning before MaxWait, default 1
	MaxBytes  int           // stop before a batch that would exceed it, but return at least one; default 1 MiB
	MaxWait   time.Duration // default: do not wait
}

var _ Source = (*Set)(nil)
