package spool

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/verify"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// Verify checks the queues of a running spool: every batch held can be read, matches its checksum and its key, and the
// figures of every epoch add up. It reads beside the committer and changes nothing; a batch that is found damaged is set
// aside when it is its turn to be delivered.
func (s *Set) Verify(ctx context.Context) ([]*verify.Check, error) {
	queues := &verify.Check{Name: "queues", Of: "batches"}
	figures := &verify.Check{Name: "spool figures", Of: "epochs"}
	s.mu.Lock()
	epochs := append([]*epoch(nil), s.epochs...)
	s.mu.Unlock()
	for _, e := range epochs {
		s.mu.Lock()
		index := append([]entry(nil), e.index...)
		held := uint64(0)
		for i := range e.index {
			held += uint64(e.index[i].Responses)
		}
		for i := range e.expiring { // counted as given up only once that is durable
			held += uint64(e.expiring[i].Responses)
		}
		if e.recorded != e.ackedResponses+held {
			figures.Problem("epoch %s: recorded is %d, %d were acknowledged and %d are held", e.id, e.recorded, e.ackedResponses, held)
		}
		s.mu.Unlock()
		figures.Checked++
		for i := range index {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("verify spool: %w", err)
			}
			queues.Checked++
			if err := index[i].verify(e.id); err != nil && s.stillHeld(e, index[i].First) {
				queues.Problem("epoch %s, events %d to %d: %v", e.id, index[i].First, index[i].Last, err)
			}
		}
	}
	return []*verify.Check{queues, figures}, s.verifySkipped(ctx, figures)
}

// verifySkipped names the folders that were left alone because of what is in them. Those that a living process has are its own affair.
func (s *Set) verifySkipped(ctx context.Context, figures *verify.Check) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return fmt.Errorf("verify spool: %w", err)
	}
	defer s.release()
	for _, dir := range c.skipped {
		if !c.warned[dir] {
			continue
		}
		cause := refuseNewer(dir)
		if cause == nil {
			cause = errors.New("the log says why")
		}
		figures.Problem("the folder %s is left alone, and what it holds is in no figure: %v", dir, cause)
	}
	return nil
}

func (s *Set) stillHeld(e *epoch, first uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.findLocked(first) != nil
}

// verify reads a batch from its file, cached or not.
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
		return fmt.Errorf("%w: the value is not what its key says", queue.ErrDamaged)
	}
	return b.CheckVersion()
}

// VerifyDir checks the spools below a folder that no process has open: journals, queues and ledgers. through are the
// consumer's watermarks, nil if they are not known: what was acknowledged must lie below them. It changes nothing, and
// leaves a folder alone that is in use.
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
		v.folder(folder)
	}
	return []*verify.Check{v.journals, v.queues, v.figures}, nil
}

type dirVerification struct {
	through                   map[uuid.UUID]uint64
	journals, queues, figures *verify.Check
}

func (v *dirVerification) folder(dir string) {
	id := uuid.MustParse(filepath.Base(dir))
	lock, err := lockFolder(dir, false)
	if errors.Is(err, errBusy) {
		v.queues.Skipped = "epoch " + id.String() + " is in use by a running process"
		return
	}
	if err == nil {
		defer func() { _ = lock.Close() }()
	}
	if err := refuseNewer(dir); err != nil {
		v.figures.Problem("epoch %s: %v", id, err)
		return
	}
	segments := v.journal(dir, id)
	l := leftover{held: make(map[uint64]heldBatch)}
	numbers := queue.Numbers(dir)
	for _, number := range numbers {
		m, err := v.queue(dir, id, number, l.held)
		if err != nil {
			v.queues.Problem("%s: %v", queue.Name(dir, number), err)
			if !errors.Is(err, queue.ErrDamaged) {
				return // the next start leaves the folder alone, or waits
			}
		} else if l.known == nil {
			l.known = m
		} else if m != nil {
			l.known = newerState(l.known, m)
		}
	}
	v.figures.Checked++
	var whole bool
	if l.page, whole = readPage(dir, id); !whole {
		if len(numbers)+len(segments) == 0 && v.through[id] == 0 {
			return // its creation was cut short
		}
		v.figures.Problem("epoch %s: the ledger is missing or damaged; the queue's figures will be used", id)
	}
	if l.known == nil {
		if l.known = l.page.committed; l.known == nil {
			l.known = &queue.State{}
		}
	}
	if v.through != nil && l.known.Acked > max(v.through[id], l.known.Expired) {
		v.figures.Problem("epoch %s: events up to %d were acknowledged, the store has them up to %d", id, l.known.Acked, v.through[id])
	}
	if lost := l.lost(id, segments); lost > 0 {
		v.figures.Problem("epoch %s: %d responses were recorded and are neither acknowledged, nor in queue or journal: the next start counts them as dropped (%s)",
			id, lost, lostDamaged)
	}
}

// leftover is what a dead process left of an epoch, as the next start will find it.
type leftover struct {
	known *queue.State
	page  pageFigures
	held  map[uint64]heldBatch // by first seq: the newest copy of a batch counts
}

type heldBatch struct {
	Last, Responses uint64
	readable        bool
}

// lost counts what the next start will count as damaged: see recoverJournal and reconcileLedger, whose figures these are.
func (l *leftover) lost(id uuid.UUID, segments []journal.Left) (lost uint64) {
	for first, b := range l.held {
		if b.Last <= l.known.Acked {
			delete(l.held, first)
		}
	}
	fromJournal := uint64(0)
	for _, left := range segments {
		b, _, _ := buildLeft(left, &epoch{id: id}, time.Time{}) // an error is reported already
		if b.Records == 0 || b.Last <= l.known.Acked {
			continue
		}
		if first, at := l.covering(&b); at.readable {
			continue
		} else if at.Last > 0 {
			delete(l.held, first)
		}
		l.held[b.First] = heldBatch{Last: b.Last, Responses: uint64(b.Responses), readable: true}
		if b.First > l.known.LastSeq {
			fromJournal += uint64(b.Responses)
		}
	}
	held := uint64(0)
	for _, b := range l.held {
		held += b.Responses
	}
	expected := l.known.Recorded - min(l.known.Recorded, l.known.AckedResponses)
	committed := held - min(held, fromJournal)
	lost = expected - min(expected, committed)
	accounted := l.known.AckedResponses + held + lost
	for _, r := range []Refusal{lostDamaged, lostAge} {
		accounted += newer(l.known.Dropped[r.String()], l.page.counters[slotOf(r)])
	}
	accepted := l.page.counters[slotAccepted]
	return lost + accepted - min(accepted, accounted)
}

// covering returns the batch that takes in all of b, and its first seq; none: both are zero.
func (l *leftover) covering(b *entry) (uint64, heldBatch) {
	for first, at := range l.held {
		if first <= b.First && at.Last >= b.Last {
			return first, at
		}
	}
	return 0, heldBatch{}
}

// journal counts what can be read of the segments. Holes are no problem: they are records that a dying process had reserved
// and not published. What was accepted and is in none of them shows in the figures.
func (v *dirVerification) journal(dir string, id uuid.UUID) []journal.Left {
	segments, err := journal.List(dir, id)
	if err != nil {
		v.journals.Problem("epoch %s: %v", id, err)
	}
	for _, left := range segments {
		v.journals.Checked++
		last := uint64(0)
		err := left.Scan(func(seq uint64, _ []byte) {
			if seq <= last {
				v.journals.Problem("%s: event %d follows event %d", left.Path, seq, last)
			}
			last = seq
		})
		if err != nil {
			v.journals.Problem("%s: %v", left.Path, err)
		}
	}
	return segments
}

func (v *dirVerification) queue(dir string, id uuid.UUID, number int, held map[uint64]heldBatch) (found *queue.State, err error) {
	err = queue.Inspect(dir, number, id, func(f *queue.File, m *queue.State, index []queue.Batch) {
		acked := uint64(0)
		if found = m; m != nil {
			acked = m.Acked
		} else {
			v.queues.Problem("%s: the state is damaged; the ledger's figures will be used", queue.Name(dir, number))
		}
		for i := range index {
			v.queues.Checked++
			b := heldBatch{Last: index[i].Last, Responses: uint64(index[i].Responses)}
			if b.Last <= acked {
				held[index[i].First] = b
				continue // acknowledged; will be removed with the next commit
			}
			err := (&entry{Batch: index[i], file: f}).verify(id)
			b.readable = err == nil || errors.Is(err, event.ErrVersion)
			held[index[i].First] = b
			if err != nil {
				v.queues.Problem("%s, events %d to %d: %v", queue.Name(dir, number), index[i].First, index[i].Last, err)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}
