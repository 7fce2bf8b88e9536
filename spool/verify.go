package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/verify"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// Verify checks the queues of a running spool: that every batch can be read and matches its checksum and its key, and that the figures of every
// epoch add up. It changes nothing, and commits continue. A damaged batch is moved to the quarantine only when Peek reaches it.
func (s *Set) Verify(ctx context.Context) ([]*verify.Check, error) {
	queues := &verify.Check{Name: "queues", Of: "batches"}
	figures := &verify.Check{Name: "spool figures", Of: "epochs"}
	for _, e := range s.allEpochs() {
		s.mu.Lock()
		index := slices.Clone(e.index)
		held := e.heldLocked() + heldIn(e.expiring) // expiring batches do not count as dropped until their removal is durable
		if e.recorded != e.ackedResponses+held {
			figures.Problem("epoch %s: %d responses are recorded, but %d were acknowledged and %d are in the queue", e.id, e.recorded, e.ackedResponses, held)
		}
		s.mu.Unlock()
		figures.Checked++
		for i := range index {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("verify spool: %w", err)
			}
			queues.Checked++
			if err := index[i].verify(e.id); err != nil && s.isHeld(e, index[i].First) {
				queues.Problem("epoch %s, events %d to %d: %v", e.id, index[i].First, index[i].Last, err)
			}
		}
	}
	return []*verify.Check{queues, figures}, s.verifySkipped(ctx, figures)
}

// verifySkipped reports the folders that could not be taken over because of their content. It does not report folders of live processes.
func (s *Set) verifySkipped(ctx context.Context, figures *verify.Check) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return fmt.Errorf("verify spool: %w", err)
	}
	defer s.release()
	for _, dir := range c.takeover.skipped {
		if !c.takeover.warned[dir] {
			continue
		}
		cause := refuseNewer(dir)
		if cause == nil {
			cause = errors.New("see the log")
		}
		figures.Problem("folder %s was not taken over, and its events are not counted: %v", dir, cause)
	}
	return nil
}

// verify reads a batch from its file, even if it is cached.
func (b *entry) verify(id uuid.UUID) error {
	raw := b.cached
	if b.file != nil {
		var err error
		if raw, err = b.file.Read(&b.Batch); err != nil {
			return err
		}
	}
	if raw == nil {
		return fmt.Errorf("%w: the value is missing", queue.ErrDamaged)
	}
	return verifyBatch(raw, id, b)
}

func verifyBatch(raw []byte, id uuid.UUID, key *entry) error {
	b, err := event.ParseBatch(raw)
	if err != nil {
		return err
	}
	records, responses := uint32(0), uint32(0)
	for _, record := range b.All() {
		records++
		if event.IsResponseRecord(record) {
			responses++
		}
	}
	if b.Epoch != id || b.FirstSeq != key.First || b.LastSeq != key.Last || records != key.Records || responses != key.Responses {
		return fmt.Errorf("%w: the value does not match its key", queue.ErrDamaged)
	}
	return b.CheckVersion()
}

// VerifyDir checks the spools in dir that no process has open: journals, queues and ledgers. through are the consumer's watermarks, or nil if
// they are unknown; an acknowledgment beyond its watermark is a problem. VerifyDir changes nothing, and skips folders that are in use.
func VerifyDir(ctx context.Context, dir string, through map[uuid.UUID]uint64) ([]*verify.Check, error) {
	v := &dirVerification{
		through:  through,
		journals: &verify.Check{Name: "journals", Of: "segments"},
		queues:   &verify.Check{Name: "queues", Of: "batches"},
		figures:  &verify.Check{Name: "spool figures", Of: "epochs"},
	}
	for _, folder := range folders(dir) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("verify spools: %w", err)
		}
		l, unlock, err := openLeftover(folder)
		if err != nil {
			v.queues.Skipped = err.Error()
			continue
		}
		v.epoch(l)
		unlock()
	}
	return []*verify.Check{v.journals, v.queues, v.figures}, nil
}

type dirVerification struct {
	through                   map[uuid.UUID]uint64
	journals, queues, figures *verify.Check
}

func (v *dirVerification) epoch(l *leftover) {
	if err := refuseNewer(l.dir); err != nil {
		v.figures.Problem("epoch %s: %v", l.id, err)
		return
	}
	segments := v.journal(l)
	numbers := queue.Numbers(l.dir)
	for _, number := range numbers {
		if err := v.queue(l, number); err != nil && !errors.Is(err, queue.ErrDamaged) {
			return // the next start will leave the folder alone, or wait
		}
	}
	v.figures.Checked++
	if !l.readPage() {
		if len(numbers)+len(segments) == 0 && v.through[l.id] == 0 {
			return // the creation of the folder was not completed
		}
		v.figures.Problem("epoch %s: the ledger is missing or damaged; the next start will use the queue's figures", l.id)
	}
	if v.through != nil && l.state.Acked > max(v.through[l.id], l.state.Expired) {
		v.figures.Problem("epoch %s: events up to %d were acknowledged, but the store has them only up to %d", l.id, l.state.Acked, v.through[l.id])
	}
	if lost := l.lost(segments); lost > 0 {
		v.figures.Problem("epoch %s: %d recorded responses were not acknowledged and are in neither queue nor journal: the next start will count them as dropped (%s)",
			l.id, lost, lostDamaged)
	}
}

// journal checks the readable parts of the segments. Gaps are not problems: they are records that a process had reserved but not published
// when it died. If an accepted event is missing, the figures show it.
func (v *dirVerification) journal(l *leftover) []journal.OldSegment {
	segments, err := journal.List(l.dir, l.id)
	if err != nil {
		v.journals.Problem("epoch %s: %v", l.id, err)
	}
	for _, segment := range segments {
		v.journals.Checked++
		last := uint64(0)
		err := segment.Scan(func(seq uint64, _ []byte) {
			if seq <= last {
				v.journals.Problem("%s: event %d follows event %d", segment.Path, seq, last)
			}
			last = seq
		})
		if err != nil {
			v.journals.Problem("%s: %v", segment.Path, err)
		}
	}
	return segments
}

func (v *dirVerification) queue(l *leftover, number int) error {
	name := queue.Name(l.dir, number)
	state, err := l.readQueue(number, func(f *queue.File, state *queue.State, b *oldBatch) {
		v.queues.Checked++
		if state != nil && b.Last <= state.Acked {
			return // the next commit removes it
		}
		err := (&entry{Batch: b.Batch, file: f}).verify(l.id)
		b.unreadable = err != nil && !errors.Is(err, event.ErrVersion)
		if err != nil {
			v.queues.Problem("%s, events %d to %d: %v", name, b.First, b.Last, err)
		}
	})
	switch {
	case err != nil:
		v.queues.Problem("%s: %v", name, err)
	case state == nil:
		v.queues.Problem("%s: the state is damaged; the next start will use the ledger's figures", name)
	}
	return err
}
