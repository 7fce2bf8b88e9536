package spool

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/verify"
	"github.com/wayside-proxy/wayside/spool/journal"
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
			held += uint64(e.index[i].responses)
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
			if err := index[i].verify(e.id); err != nil && s.stillHeld(e, index[i].first) {
				queues.Problem("epoch %s, events %d to %d: %v", e.id, index[i].first, index[i].last, err)
			}
		}
	}
	return []*verify.Check{queues, figures}, nil
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
		if raw, err = b.file.read(b.key()); err != nil {
			return err
		}
	}
	if raw == nil {
		return fmt.Errorf("%w: the value is missing", errDamaged)
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
	if b.Epoch != id || b.FirstSeq != key.first || b.LastSeq != key.last || records != key.records || responses != key.responses {
		return fmt.Errorf("%w: the value is not what its key says", errDamaged)
	}
	return nil
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
	v.journal(dir, id)
	var newest *meta
	held := map[uint64]uint64{} // responses by first seq: the newest copy of a batch counts
	for _, number := range queueNumbers(dir) {
		m, err := v.queue(dir, id, number, held)
		if err != nil {
			v.queues.Problem("%s: %v", queueName(dir, number), err)
		} else if newest == nil {
			newest = m
		} else {
			newest = newerMeta(newest, m)
		}
	}
	v.figures.Checked++
	if _, ok := readPage(dir, id); !ok {
		v.figures.Problem("epoch %s: the ledger is missing or damaged; the queue's figures will be used", id)
	}
	if newest == nil {
		return
	}
	if v.through != nil && newest.Acked > max(v.through[id], newest.GivenUp) {
		v.figures.Problem("epoch %s: events up to %d were acknowledged, the store has them up to %d", id, newest.Acked, v.through[id])
	}
	sum := newest.AckedResponses
	for first, responses := range held {
		if first > newest.Acked {
			sum += responses
		}
	}
	if newest.Recorded != sum {
		v.figures.Problem("epoch %s: recorded is %d, acknowledged and held are %d", id, newest.Recorded, sum)
	}
}

// journal counts what can be read of the segments. Holes are no problem: they are records that a dying process had reserved
// and not published.
func (v *dirVerification) journal(dir string, id uuid.UUID) {
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
}

func (v *dirVerification) queue(dir string, id uuid.UUID, number int, held map[uint64]uint64) (found *meta, err error) {
	err = readQueue(dir, id, number, func(m *meta, index []entry) {
		found = m
		for i := range index {
			v.queues.Checked++
			held[index[i].first] = uint64(index[i].responses)
			if index[i].last <= m.Acked {
				continue // acknowledged; will be removed with the next commit
			}
			if err := index[i].verify(id); err != nil {
				v.queues.Problem("%s, events %d to %d: %v", queueName(dir, number), index[i].first, index[i].last, err)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}
