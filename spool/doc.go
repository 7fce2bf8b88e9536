// Package spool is the local queue between the traffic process and the books process.
//
// # Promises
//
// [Set.Record] never blocks and never fails a request: it appends the event to a memory-mapped journal, or counts it as dropped with the
// reason. An accepted event survives kill -9 of the process at any instruction. Its identity (epoch, seq) is assigned immediately and
// never changes. [Source.Peek] delivers the events of an epoch in order of seq, at least once, until [Source.Ack] declares them durable
// elsewhere. For each epoch, Responses = Recorded + Excluded + the sum of Dropped, exactly; see [Ledger].
//
// # When data may be lost
//
// A power cut loses at most the events of the last Options.CommitInterval, or nothing with Options.SyncEachResponse. When the queue and the
// journal are full, or no spool can be opened, events are refused and counted. A damaged batch in the queue is moved to
// Options.QuarantineDir, and its responses count as dropped for the reason "damaged".
//
// # Layout
//
//	Options.Dir/
//	  <epoch>/           one folder per traffic process; the name is a UUIDv7, so names sort by age
//	    lock             flock of the owner; a folder whose lock is held by another process is left alone
//	    ledger           one page of counters, memory-mapped (ledgerpage.go)
//	    journal-NN.seg   package journal; removed when the epoch has been closed and committed
//	    queue.db         package queue; queue-1.db, queue-2.db … follow after a failed fsync
//	  .retired-<epoch>/  a folder that is being removed
//	Options.Dir.tally-<epoch>  the drop count of a process whose ledger did not fit on the disk (tally.go)
//
// # Files
//
// [Set] is what callers use. Its committer does all writing to the queue, and only one goroutine at a time holds it.
//
//   - the path of an event: set.go (Record), commit.go (from the journal into the queue), peek.go, ack.go
//   - when something fails or is too old: full.go (no room), newqueuefile.go (after a failed write), expire.go, quarantine.go, droplog.go and dropreport.go
//   - figures: ledger.go (ledgers), counters.go, ledgerpage.go and tally.go (their storage), reconcile.go, status.go, prometheus.go
//   - epochs: epoch.go and folder.go, recover*.go (folders of dead processes), retire.go
//   - folders that no process has open: deadfolder.go, verify.go, countwaiting.go
//   - over a socket: client.go, server.go, protocol.go
//
// # Writing
//
// The committer seals the active journal segment when it is half full, or CommitInterval after its first event. It writes the segment as
// one bbolt value, in the same transaction as the segment's generation, all figures of the ledger, and the acknowledgments. A segment is
// reused only after a later commit. After a failed fsync, nothing more is written to that queue file. A new file is created, the events of
// the segments that are still held are committed to it with the same seqs, and the old file serves reads until it is drained.
//
// # Reading
//
// [Open] recovers the epochs of dead processes: it commits the events in the journals that are not in the queues. Peek returns these
// epochs before the current one, oldest first. Retire removes a folder whose events have all been acknowledged.
package spool
