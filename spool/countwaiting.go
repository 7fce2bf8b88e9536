package spool

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// Waiting counts the responses in the spools in dir that the consumer has not applied: those after the consumer's watermarks. It changes
// nothing, and skips epochs whose process is alive. If an epoch cannot be read, it returns an error together with the count for the other
// epochs.
func Waiting(ctx context.Context, dir string, applied map[uuid.UUID]uint64) (responses uint64, err error) {
	for _, folder := range folders(dir) {
		if ctx.Err() != nil {
			return responses, fmt.Errorf("count waiting responses: %w", ctx.Err())
		}
		id := uuid.MustParse(filepath.Base(folder))
		n, ferr := waitingIn(folder, applied[id])
		responses += n
		if ferr != nil && !errors.Is(ferr, errBusy) {
			err = errors.Join(err, fmt.Errorf("count waiting responses of epoch %s: %w", id, ferr))
		}
	}
	return responses, err
}

func waitingIn(dir string, applied uint64) (uint64, error) {
	l, unlock, err := openLeftover(dir)
	if err != nil {
		return 0, err
	}
	defer unlock()
	var failed error
	for _, number := range queue.Numbers(dir) {
		_, err := l.readQueue(number, func(*queue.File, *queue.State, *oldBatch) {})
		failed = errors.Join(failed, err)
	}
	l.readPage()
	n, err := l.waiting(applied)
	return n, errors.Join(failed, err)
}
