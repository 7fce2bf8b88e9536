package spool

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// Source is the reading side of a spool: a *Set in the same process, or a *Client over a connection.
type Source interface {
	// Peek returns the oldest batches that were not acknowledged, all of one epoch, in order of seq. Epochs of dead processes come
	// first, at once. For the current epoch it waits until MinEvents or MaxBytes are committed, until MaxWait after the oldest of them,
	// or for a Flush. After MaxWait without any batch it returns nil and no error. The batches are read-only and stay valid.
	Peek(ctx context.Context, o PeekOptions) ([]event.Batch, error)
	// Ack declares that everything of the epoch up to and including seq is durable elsewhere. It takes effect at once and becomes
	// durable with a later commit; after a crash before that, events are delivered again.
	Ack(ctx context.Context, epoch uuid.UUID, seq uint64) error
	// Ledgers returns the account of every epoch held, oldest first. applied has, for each epoch, the seq up to which the caller has the
	// events itself: they do not count as Spooled.
	Ledgers(ctx context.Context, applied map[uuid.UUID]uint64) ([]Ledger, error)
	// Reconcile makes the account of an epoch agree with the consumer's, which has durably stored held responses, all up to seq. Events
	// up to seq count as acknowledged. Responses that count as damaged or expired, and that the consumer has, count as recorded again.
	// missing is the number of acknowledged responses that the consumer does not have: it has lost them, and must count them as lost.
	Reconcile(ctx context.Context, epoch uuid.UUID, seq, held uint64) (missing uint64, err error)
	// Retire removes the folder of a closed epoch whose events are all acknowledged. The caller must have stored its ledger durably. An
	// epoch that is not held any more is no error; one that is not drained is ErrNotDrained.
	Retire(ctx context.Context, epoch uuid.UUID) error
	// Publish passes bytes to the traffic process under a topic. The spool does not interpret them.
	Publish(ctx context.Context, topic string, body []byte) error
}

// PeekOptions limit what Peek waits for and returns. Zero means the default.
type PeekOptions struct {
	MinEvents int           // events worth returning before MaxWait, default 1
	MaxBytes  int           // of all batches together, unless the first one is larger; default 1 MiB
	MaxWait   time.Duration // default: do not wait
}

var _ Source = (*Set)(nil)
