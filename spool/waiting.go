package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// waitingIn counts in one epoch. The same batch may stand in two queue files, and in the journal.
func waitingIn(dir string, id uuid.UUID, applied uint64) (n uint64, err error) {
	lock, err := lockFolder(dir, false)
	if errors.Is(err, errBusy) {
		return 0, err
	}
	if err == nil {
		defer func() { _ = lock.Close() }()
	}
	batches := map[uint64]uint64{}      // responses by first seq
	through, gone := applied, uint64(0) // gone: given up for their age
	var failed error
	for _, number := range queueNumbers(dir) {
		err := readQueue(dir, id, number, func(m *meta, index []entry) {
			if m != nil {
				through, gone = max(through, m.LastSeq), max(gone, m.GivenUp)
			} else if n := len(index); n > 0 {
				through = max(through, index[n-1].last)
			}
			for i := range index {
				if index[i].last > applied {
					batches[index[i].first] = uint64(index[i].responses)
				}
			}
		})
		failed = errors.Join(failed, err)
	}
	for first, responses := range batches {
		if first > gone {
			n += responses
		}
	}
	segments, err := journal.List(dir, id)
	failed = errors.Join(failed, err)
	for _, left := range segments {
		err := left.Scan(func(seq uint64, record []byte) {
			if seq > through && event.IsResponseRecord(record) {
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
