package spool

import "fmt"

// This file is the middle of what happens when the disk, or the queue's own limit, has no room left:
//
//  1. Package queue reports queue.ErrFull, for its limit as well as for ENOSPC, EDQUOT and EFBIG of the file system.
//  2. The events stay in the journal, whose blocks were allocated when it was created (keepInJournal). The committer tries again.
//  3. When the journal is full too, Set.TryAppend refuses events for the reason "full", and counts them as dropped in the ledger, whose
//     block was allocated too. If even the ledger could not be created, tally.go counts in a file beside the spool's folder.
//  4. As soon as there is room, the journal is committed, and dropreport.go writes the drops into the books.
//
// On the other side, the books process stops applying before the disk is full (data.free_min, collector/diskguard.go). The events then
// wait in the queue.

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
