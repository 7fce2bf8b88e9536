package spool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// Waiting counts the responses in the spools below a folder that no process has open and that are not applied: those behind
// the consumer's watermarks. It changes nothing. Epochs that are in use are left out; one that cannot be read is an error,
// beside the count of the others.
func Waiting(ctx context.Context, dir string, applied map[uuid.UUID]uint64) (responses uint64, err error) {
	for _, folder := range folders(dir) {
		if ctx.Err() != nil {
			return responses, fmt.Errorf("count what waits in the spool: %w", ctx.Err())
		}
		id := uuid.MustParse(filepath.Base(folder))
		n, ferr := waitingIn(folder, id, applied[id])
		responses += n
		if ferr != nil && !errors.Is(ferr, errBusy) {
			err = errors.Join(err, fmt.Errorf("count what waits in epoch %s: %w", id, ferr))
		}
	}
	return responses, err
}

// waitingIn counts in one epoch what the next start finds: see recoverJournal. The same batch may stand in two queue files, and in the
// journal; and the journal may have what no queue took, although their figures have it already.
func waitingIn(dir string, id uuid.UUID, applied uint64) (n uint64, err error) {
	lock, err := lockFolder(dir, false)
	if errors.Is(err, errBusy) {
		return 0, err
	}
	if err == nil {
		defer func() { _ = lock.Close() }()
	}
	batches := map[uint64]queue.Batch{} // by first seq
	var known *queue.State
	var failed error
	for _, number := range queue.Numbers(dir) {
		err := queue.Inspect(dir, number, id, func(_ *queue.File, m *queue.State, index []queue.Batch) {
			for i := range index {
				batches[index[i].First] = index[i]
			}
			if known == nil {
				known = m
			} else if m != nil {
				known = newerState(known, m)
			}
		})
		failed = errors.Join(failed, err)
	}
	if known == nil {
		page, _ := readPage(dir, id)
		if known = page.committed; known == nil {
			known = &queue.State{}
		}
	}
	through := max(applied, known.Acked)
	for first, b := range batches {
		if b.Last > through && first > known.Expired {
			n += uint64(b.Responses)
		}
	}
	fromJournal, err := waitingInJournal(dir, id, through, batches)
	return n + fromJournal, errors.Join(failed, err)
}

// waitingInJournal counts the responses beyond a seq that stand in no batch.
func waitingInJournal(dir string, id uuid.UUID, through uint64, batches map[uint64]queue.Batch) (n uint64, err error) {
	firsts := slices.Sorted(maps.Keys(batches))
	segments, failed := journal.List(dir, id)
	for _, left := range segments {
		err := left.Scan(func(seq uint64, record []byte) {
			at, found := slices.BinarySearch(firsts, seq)
			inBatch := found || at > 0 && seq <= batches[firsts[at-1]].Last
			if seq > through && !inBatch && event.IsResponseRecord(record) {
				n++
			}
		})
		failed = errors.Join(failed, err)
	}
	return n, failed
}
