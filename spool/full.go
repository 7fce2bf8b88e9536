package spool

import "fmt"

// The spool handles a full disk, or a queue that has reached its limit, in these steps:
//
//  1. Package queue reports queue.ErrFull, for its own limit as well as for ENOSPC, EDQUOT and EFBIG from the file system.
//  2. The events remain in the journal, whose blocks were allocated when it was created (keepInJournal). The committer tries again.
//  3. When the journal is also full, Set.TryAppend refuses events for the reason "full", and counts them as dropped in the ledger, whose
//     block was also allocated in advance. If even the ledger could not be created, tally.go counts them in a file next to the spool's
//     folder.
//  4. As soon as there is room again, the journal is committed, and dropreport.go records the drops in the books.
//
// The books process helps to avoid this: it stops applying events before the disk is full (data.free_min, collector/diskguard.go). The
// events then wait in the queue.

// keepInJournal leaves a segment for a later commit, because the queue has no room for it.
func (c *committer) keepInJournal(err error) error {
	c.setDegraded("queue is full: " + err.Error())
	return c.queueFull(err)
}

// queueFull counts a commit for which there was no room, and returns its error.
func (c *committer) queueFull(err error) error {
	c.fullCommits.Add(1)
	return fmt.Errorf("%w: %w", ErrQueueFull, err)
}
