// Package spool is the local queue between the traffic process and the books.
//
// # Promises
//
// [Set.Record] never blocks and never fails a request: it appends to a memory-mapped journal, or counts why it could not.
// What it accepted survives kill -9 of the process at any instruction, is delivered by [Source.Peek] under the identity
// (epoch, seq) that it got at once, in order of seq, at least once, until [Source.Ack] says that it is durable elsewhere.
// Responses = Recorded + Excluded + the sum of Dropped, for each epoch, exactly; see [Ledger].
//
// # When data may be lost
//
// A power cut loses at most the commit window (Options.CommitInterval), or nothing with Options.SyncEachResponse. When
// the queue and the journal are full, or no spool can be opened, events are refused and counted. A damaged value of the
// queue is set aside in Options.QuarantineDir and counted as dropped for the reason "damaged".
//
// # Layout
//
//	Options.Dir/
//	  <epoch>/           one folder per traffic process; the name is a UUIDv7, so names sort by age
//	    lock             flock of the owner; a folder whose lock is held elsewhere is left alone
//	    ledger           one page of counters, memory-mapped (see page.go)
//	    journal-NN.seg   package journal; gone once the epoch is closed and committed
//	    queue.db         package queue; queue-1.db, queue-2.db … follow after a failed fsync
//	  .retired-<epoch>/  a folder being removed
//	Options.Dir.tally-<epoch>  what a process counted that had no room for a ledger (see tally.go)
//
// # Files
//
// An event goes from set.go (Record) into the journal, and from there with commit.go into the queue. peek.go hands it out, ack.go
// takes the acknowledgement. roll.go goes on after a failed file, expire.go ends what waited too long, dropreport.go writes drop
// records, folder.go and tally.go give the counts a place. recover.go takes over folders of dead processes. account.go, counters.go and page.go keep the ledger. client.go, server.go
// and protocol.go carry the reading side over a socket.
//
// [Set] is what callers see. Its committer does everything that writes, and belongs to one goroutine at a time.
//
// # Writing
//
// The committer seals the active journal segment when it is half full, or CommitInterval after its first event, and writes
// it as one bbolt value, with the segment's generation and all ledger figures in the same transaction. Acks ride along.
// A segment is reused only after a later commit. After a failed fsync the queue file is never written again: a new one is
// begun, the segments still held are committed there under their identity, and the old file is read until it is drained.
//
// # Reading
//
// Epochs of dead processes are recovered by [Open]: what their journals hold beyond the queue is committed to it. Peek
// hands them out first, oldest folder first. Retire removes a folder whose events are all acknowledged.
package spool
