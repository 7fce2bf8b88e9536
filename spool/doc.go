// Package spool is the local queue between the traffic process and the books process.
//
// # Promises
//
// [Set.Record] never blocks and never fails a request: it appends to a memory-mapped journal, or counts why it could not. An accepted event
// survives kill -9 of the process at any instruction. Its identity (epoch, seq) is assigned at once and never changes. [Source.Peek]
// delivers the events of an epoch in order of seq, at least once, until [Source.Ack] declares that they are durable elsewhere.
// Responses = Recorded + Excluded + the sum of Dropped, for each epoch, exactly; see [Ledger].
//
// # When data may be lost
//
// A power cut loses at most the commit window (Options.CommitInterval), or nothing with Options.SyncEachResponse. When the queue and the
// journal are full, or no spool can be opened, events are refused and counted. A damaged batch of the queue is set aside in
// Options.QuarantineDir and counts as dropped for the reason "damaged".
//
// # Layout
//
//	Options.Dir/
//	  <epoch>/           one folder for each traffic process; the name is a UUIDv7, so names sort by age
//	    lock             flock of the owner; a folder whose lock is held by another process is left alone
//	    ledger           one page of counters, memory-mapped (page.go)
//	    journal-NN.seg   package journal; removed once the epoch is closed and committed
//	    queue.db         package queue; queue-1.db, queue-2.db … follow after a failed fsync
//	  .retired-<epoch>/  a folder that is being removed
//	Options.Dir.tally-<epoch>  the count of a process that had no room for a ledger (tally.go)
//
// # Files
//
// [Set] is the interface to callers. Its committer writes everything, and belongs to one goroutine at a time.
//
//   - an event: set.go (Record), then commit.go (from the journal into the queue), then peek.go, then ack.go
//   - when something fails or is too old: roll.go (another queue file), expire.go, quarantine.go, droplog.go and dropreport.go
//   - figures: account.go (ledgers), counters.go, page.go and tally.go (their storage), reconcile.go, status.go, prometheus.go
//   - epochs: epoch.go and folder.go, recover*.go (folders of dead processes), retire.go
//   - folders that no process has open: leftover.go, verify.go, waiting.go
//   - over a socket: client.go, server.go, protocol.go
//
// # Writing
//
// The committer seals the active journal segment when it is half full, or CommitInterval after its first event. It writes the segment as one
// bbolt value, in one transaction with the segment's generation, all figures of the ledger, and the acknowledgements. A segment is reused
// only after a later commit. After a failed fsync the queue file is never written again. A new one is created, the segments that are still
// held are committed there under their identity, and the old file is read until it is drained.
//
// # Reading
//
// [Open] recovers the epochs of dead processes: it commits the events of their journals that the queue does not have. Peek returns them
// first, oldest epoch first. Retire removes a folder whose events are all acknowledged.
package spool
