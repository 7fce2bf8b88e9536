package spool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
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
	batches := map[uint64]entry{} // by first seq
	var known *meta
	var failed error
	for _, number := range queueNumbers(dir) {
		err := readQueue(dir, id, number, func(m *meta, index []entry) {
			for i := range index {
				batches[index[i].first] = index[i]
			}
			if known == nil {
				known = m
			} else if m != nil {
				known = newerMeta(known, m)
			}
		})
		failed = errors.Join(failed, err)
	}
	if known == nil {
		page, _ := readPage(dir, id)
		if known = page.committed; known == nil {
			known = &meta{}
		}
	}
	through := max(applied, known.Acked)
	for first, b := range batches {
		if b.last > through && first > known.GivenUp {
			n += uint64(b.responses)
		}
	}
	fromJournal, err := waitingInJournal(dir, id, through, batches)
	return n + fromJournal, errors.Join(failed, err)
}

// waitingInJournal counts the responses beyond a seq that stand in no batch.
func waitingInJournal(dir string, id uuid.UUID, through uint64, batches map[uint64]entry) (n uint64, err error) {
	firsts := slices.Sorted(maps.Keys(batches))
	segments, failed := journal.List(dir, id)
	for _, left := range segments {
		err := left.Scan(func(seq uint64, record []byte) {
			at, found := slices.BinarySearch(firsts, seq)
			inBatch := found || at > 0 && seq <= batches[firsts[at-1]].last
			if seq > through && !inBatch && event.IsResponseRecord(record) {
				n++
			}
		})
		failed = errors.Join(failed, err)
	}
	return n, failed
}

// readQueue calls fn with the state and the index of a queue file that nobody writes. The file is open during the call.
func readQueue(dir string, id uuid.UUID, number int, fn func(m *meta, index []entry)) (err error) {
	q := &queueFile{name: queueName(dir, number), number: number, readOnly: true}
	if info, err := os.Stat(q.name); err != nil || info.Size() == 0 {
		return fmt.Errorf("%w: empty", errDamaged)
	}
	err = guardErr(func() (err error) {
		o := boltOptions(&Options{OpenFile: os.OpenFile}, 0)
		o.ReadOnly = true
		q.db, err = bolt.Open(q.name, 0o400, o)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.close()) }()
	m, index, err := q.load(id, time.Time{})
	if err == nil {
		fn(m, index)
	}
	return err
}
