// Package store keeps the books: blocks of events, hourly statistics, and how far each traffic process has been applied,
// in one Badger database that one process at a time may open.
//
// # Promises
//
//   - Applied once. [Store.Apply] writes a batch's events, the epoch's watermark, the caller's path state and the totals in
//     one synced transaction. Events at or below the watermark are skipped, so replaying a batch changes nothing.
//   - Rows agree with events. Statistics are folded in memory and checkpointed with the number of the last batch that each
//     row includes; after a crash the batches beyond the checkpoint are folded again from their blocks, each into exactly
//     those rows that do not include it. [Store.Account] reads totals and the sum over the rows as of one moment.
//   - Archive before delete. [Store.DeleteBlocks] removes only blocks of a plan marked verified whose batches are at or
//     below the checkpoint.
//   - Errors of the disk are not the batch's fault: they wrap [ErrUnavailable]. After a commit whose outcome is unknown the
//     store refuses all further work ([ErrFailed]) until it is opened again: going on could apply a batch twice.
//   - Bounded. At most [Options.LiveRowsMax] rows stay in memory; readers hold one row and one block at a time.
//
// # When data may be lost
//
// Never by the death of the process, nor by power loss once Apply has returned. Only by damage: a store that Badger cannot
// open, one of whose blocks fails its checksum, or one that Verify found damaged ([Condemn]), is moved to the quarantine folder whole,
// with a report beside it, and a new store begins empty (aside.go). What was applied, acknowledged and archived comes back from the
// archive ([Store.Refill], ADR 85); the rest counts as quarantined. Events not yet acknowledged come again and are applied to the
// new store. No event can be in it twice, and what may have been archived already is not archived again ([Store.Adopt]): the
// epochs that were there are in doubt ([Store.Doubtful]) until the archive was asked.
//
// Badger writes through memory maps: on a full disk it may die with SIGBUS and take the process along. Nothing is lost by
// that, but the process that opens a store must not be the one that carries traffic.
//
// # Layout
//
// Folder: <Dir>/ is Badger's, with a file "schema" that holds the schema version as text with its CRC32C, so that a store written by a
// newer wayside is recognised before Badger touches it. <Dir>.lock is locked while the store is open. <Dir>.ledgers
// holds the ledgers once more, for when the store is lost (kept.go, ADR 60). <Dir>.opening exists
// while it is being opened; a Go crash during that time is written to it. <Dir>/../reserve is disk space that is given up
// when the store cannot be opened because the disk is full. <Dir>.condemned says that Verify found damage, and that the next Open is to
// set the store aside.
//
// Keys; numbers are big endian so that they sort, hours have their sign bit flipped, widths in bytes:
//
//	's'                                               schema: version (4), when the books began (8, µs)
//	'a' epoch(16)                                     doubt, see doubt.go: 1 open, 2 entered; 'a' alone: all epochs
//	'm'                                               state: see below
//	'k'                                               checkpoint: number of the last batch that all rows include (8)
//	'w' epoch(16)                                     watermark: seq (8), applied (8), quarantined (8), first seq applied (8)
//	'l' epoch(16)                                     ledger of a retired epoch: JSON
//	'n' batch(8)                                      batch record: what a replay needs; removed below the checkpoint
//	'b' hour(8) batch(8) index(2)                     block of up to 1,000 events of one hour
//	'u' hour(8) batch(8) index(2)                     header of a block that is in no plan yet
//	'r' hour(8) n host n method label                 row: CRC32C (4), last batch included (8), statistics; n is a varint
//	't' hour(8) epoch(16)                             what drop records told: CRC32C (4), figures by reason; see drops.go
//	'i' n host n method label                         first and last hour of a row name (8, 8); 'i' alone: complete
//	'd' day(8), 'f' span(8), 'h' part(8)              mark that the sums of a day, 32 days, or six hours are right
//	'e' day(8) name, 'g' span(8) name, 'q' part(8) name  sum of a name's rows, as a row; see rollup.go
//	'o' day(8), 'v' day(8) name                       until schema 3: a second copy of recent rows; removed at Open
//	'p' key                                           path state, opaque
//	'c' state(1) plan(8)                              plan: version (1), zstd of JSON; state 0 deleted, 1 verified, 2 planned
//	'x'                                               the archive may hold more of what a lost store had, see refill.go
//	'z'                                               padding, see Flatten; no meaning
//
// Values are little endian. The state is seven numbers of 8 bytes: last batch, next plan, applied, quarantined, archived,
// deleted, numbers given to ledgers.
//
// A block is: version (1) | codec (1: 0 plain, 1 zstd) | reserved (2) | CRC32C of the rest (4) | header | uvarint size |
// payload. The header holds records, responses, raw bytes, applied at, first and last time, epoch (16) and the runs of
// sequence numbers; the payload is one column per field, listed in columns.go.
package store
